"""What does `check` find of what was planted, and what does it find that was not?

    python -m benchmarks.planted --data TRAIN:TEST[:GROUPS.csv] ... [--seed 0]

Into a copy of each set go: byte-identical copies; near copies (another JPEG quality, another size, a little brighter);
copies in another class; training images among the test images; truncated, empty and blank files; a frame around one
class's pictures that changes their size, and one class saved in another format. Each kind is planted alone, so that
what was found can be counted; what the untouched set already has is taken off.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from search.events import Silent
from search.inspection.inspect import Request, inspect
from search.inspection.records import Inspection

COUNT = 20


class Copy:
    """A copy of a set, to plant into."""

    def __init__(self, train: Path, test: Path, folder: Path, seed: int) -> None:
        self.train, self.test = folder / "train", folder / "test"
        shutil.copytree(train, self.train)
        shutil.copytree(test, self.test)
        self.rng = np.random.default_rng(seed)
        files = sorted(path for path in self.train.rglob("*") if path.is_file())
        self.chosen = [files[row] for row in self.rng.permutation(len(files))[:COUNT]]
        self.classes = sorted(path.name for path in self.train.iterdir())

    def new(self, path: Path, folder: Path | None = None) -> Path:
        """A name beside the file, or in another folder."""
        return (folder or path.parent) / f"planted_{path.stem}{path.suffix}"

    def other_class(self, path: Path) -> Path:
        """Folder of another class."""
        own = path.relative_to(self.train).parts[0]
        return self.train / str(self.rng.choice([name for name in self.classes if name != own]))

    def nearly(self, path: Path, target: Path) -> None:
        """Another encoding of the same picture."""
        with Image.open(path) as image:
            picture = image.convert("RGB")
        way = int(self.rng.integers(3))
        if way == 1:
            picture = picture.resize((max(8, round(0.9 * picture.width)), max(8, round(0.9 * picture.height))))
        elif way == 2:
            picture = ImageEnhance.Brightness(picture).enhance(1.05)
        picture.save(target.with_suffix(".jpg"), quality=int(self.rng.integers(60, 96)))


def exact(copy: Copy) -> set[str]:
    """Byte-identical copies in the same class."""
    for path in copy.chosen:
        shutil.copy(path, copy.new(path))
    return {"duplicate"}


def near(copy: Copy) -> set[str]:
    """Re-encoded copies in the same class."""
    for path in copy.chosen:
        copy.nearly(path, copy.new(path))
    return {"near-duplicate"}


def conflict(copy: Copy) -> set[str]:
    """Re-encoded copies in another class."""
    for path in copy.chosen:
        copy.nearly(path, copy.new(path, copy.other_class(path)))
    return {"label-conflict"}


def leak(copy: Copy) -> set[str]:
    """Re-encoded training images among the test images."""
    for path in copy.chosen:
        folder = copy.test / path.relative_to(copy.train).parts[0]
        folder.mkdir(exist_ok=True)
        copy.nearly(path, copy.new(path, folder))
    return {"leak"}


def corrupt(copy: Copy) -> set[str]:
    """Truncated in the middle, cut to the header, empty, and text."""
    for number, path in enumerate(copy.chosen):
        content = path.read_bytes()
        cut = (content[: len(content) // 2], content[:40], b"", b"this is no image")[number % 4]
        copy.new(path).write_bytes(cut)
    return {"corrupt"}


def blank(copy: Copy) -> set[str]:
    """Of one grey, with the faintest noise."""
    for path in copy.chosen:
        noise = copy.rng.integers(118, 121, (64, 64), np.uint8)
        Image.fromarray(noise).save(copy.new(path).with_suffix(".png"))
    return {"blank"}


def frame(copy: Copy) -> set[str]:
    """All of one class with a border of 12 %."""
    for path in (copy.train / copy.classes[0]).rglob("*"):
        if path.is_file():
            with Image.open(path) as image:
                wide = (round(1.12 * image.width), round(1.24 * image.height))
                framed = Image.new(image.mode, wide)
                framed.paste(image, ((wide[0] - image.width) // 2, (wide[1] - image.height) // 2))
            framed.save(path)
    return {"shortcut"}


def form(copy: Copy) -> set[str]:
    """All of one class as BMP."""
    for path in list((copy.train / copy.classes[0]).rglob("*")):
        if path.is_file():
            with Image.open(path) as image:
                image.convert("RGB").save(path.with_suffix(".bmp"))
            path.unlink()
    return {"shortcut"}


KINDS: dict[str, Callable[[Copy], set[str]]] = {
    "exact copies": exact,
    "near copies": near,
    "in another class": conflict,
    "in the test": leak,
    "corrupt": corrupt,
    "blank": blank,
    "one class framed": frame,
    "one class as BMP": form,
}


def looked(train: Path, test: Path) -> Inspection:
    return inspect(Request(data=train, test=test), Silent())


def named(found: Inspection, kinds: set[str]) -> set[str]:
    """Files of findings of these kinds; for a shortcut what it says."""
    return {
        file
        for one in found.findings
        if one.kind in kinds
        for file in (one.files or (one.detail.partition(" alone")[0],))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="TRAIN:TEST")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores; pillow {metadata.version('pillow')}")
    print(f"{'':24} planted             found   else newly named   seconds")
    for text in options.data:
        train, test = map(Path, text.split(":")[:2])
        before = looked(train, test)
        for what, plant in KINDS.items():
            with tempfile.TemporaryDirectory() as name:
                copy = Copy(train, test, Path(name), options.seed)
                kinds = plant(copy)
                started = time.monotonic()
                after = looked(copy.train, copy.test)
                seconds = time.monotonic() - started
            names = named(after, kinds)
            if kinds == {"shortcut"}:
                news = names - named(before, kinds)
                told = f"{'yes' if news else 'NO':>6}   {', '.join(sorted(news))}"
                print(f"{train.parent.name:24} {what:18} {told}   {seconds:.1f}", flush=True)
                continue
            planted = {file for file in names if "planted_" in file}
            everything = {one.kind for one in after.findings} | {one.kind for one in before.findings}
            others = {
                file
                for file in named(after, everything - kinds - {"odd-file", "shortcut"})
                if "planted_" in file and file not in planted
            }
            print(
                f"{train.parent.name:24} {what:18} {len(planted):3} of {COUNT}   {len(others):10}   {seconds:16.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
