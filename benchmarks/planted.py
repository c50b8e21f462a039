"""What `check` finds of faults planted in copies of real image folders, and what it finds there besides.

    python -m benchmarks.planted --data DIR [--data DIR ...] [--each 10]

Each folder is copied; images are copied again within their class (the same bytes; another quality, a little smaller, a
little brighter), into another class, and into a test folder beside a part of the images; others are cut short, emptied,
replaced by text, or painted in one colour; in further copies one class is saved in another format, at another size, or
tinted. Found is what is named in a finding of the kind; false alarms are files named that were not touched, less those
that the untouched folder names too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.machine import machine
from search import seeds
from search.data.scan import EXTENSIONS
from search.events import SilentListener
from search.inspection.folder_check import CheckRequest, inspect

COPIES: Final = ("duplicate", "near-duplicate", "label-conflict")


def images_of(folder: Path) -> list[Path]:
    """Of all classes, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())


def upright(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


def again(picture: Image.Image, how: int, target: Path) -> Path:
    """The same picture, another file: quality, size, light in turn."""
    if how % 3 == 0:
        path = target.with_suffix(".jpg")
        picture.save(path, quality=60)
        return path
    path = target.with_suffix(".png")
    if how % 3 == 1:
        width, height = picture.size
        picture.resize((max(8, round(0.9 * width)), max(8, round(0.9 * height)))).save(path)
    else:
        ImageEnhance.Brightness(picture).enhance(1.1).save(path)
    return path


class Copy:
    """A copy of a folder in which faults are planted."""

    def __init__(self, source: Path, place: Path, each: int) -> None:
        self.folder = place / source.name
        shutil.copytree(source, self.folder)
        self.folder.chmod(0o755)
        for path in self.folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        names = [path.relative_to(self.folder).as_posix() for path in images_of(self.folder)]
        drawn = seeds.generator(0, "planted", source.name).permutation(names).tolist()
        self.each = min(each, len(names) // 12)
        self._left = drawn
        self.planted: dict[str, set[str]] = {}
        self.touched: set[str] = set()

    def take(self) -> list[Path]:
        """So many images that nothing was done to."""
        some, self._left = self._left[: self.each], self._left[self.each :]
        self.touched |= set(some)
        return [self.folder / name for name in some]

    def note(self, kind: str, path: Path) -> None:
        name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
        self.planted.setdefault(kind, set()).add(name)
        self.touched.add(name)

    def plant(self, test: Path) -> None:
        classes = sorted(path for path in self.folder.iterdir() if path.is_dir())
        for path in self.take():
            copy = path.with_name(f"copy_{path.name}")
            shutil.copy(path, copy)
            self.note("duplicate", copy)
        for how, path in enumerate(self.take()):
            self.note("near-duplicate", again(upright(path), how, path.with_name(f"near_{path.stem}")))
        for how, path in enumerate(self.take()):
            other = next(one for one in classes if one.name != path.relative_to(self.folder).parts[0])
            self.note("label-conflict", again(upright(path), how, other / f"wrong_{path.stem}"))
        for how, path in enumerate(self.take()):
            name = path.relative_to(self.folder).parts[0]
            (test / name).mkdir(parents=True, exist_ok=True)
            self.note("leak", again(upright(path), how, test / name / f"leak_{how}_{path.stem}"))
        spoilt: tuple[Callable[[Path], object], ...] = (
            lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 3]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_text("no image"),
        )
        for how, path in enumerate(self.take()):
            spoilt[how % 3](path)
            self.note("corrupt", path)
        for path in self.take():
            with Image.open(path) as opened:
                size = opened.size
            target = path.with_suffix(".png")
            path.unlink()
            Image.new("RGB", size, (90, 120, 60)).save(target)
            self.note("blank", target)
        for path in self.take():  # the rest of the test folder: images of its own
            name = path.relative_to(self.folder).parts[0]
            (test / name).mkdir(parents=True, exist_ok=True)
            path.rename(test / name / f"own_{path.name}")


def named(folder: Path, test: Path | None = None) -> tuple[dict[str, set[str]], float]:
    """Files by kind of finding, and seconds."""
    started = time.perf_counter()
    found: dict[str, set[str]] = {}
    for one in inspect(CheckRequest(data=folder, test=test), SilentListener()).findings:
        found.setdefault(one.kind, set()).update(one.files, *one.sets)
    return found, time.perf_counter() - started


def shortcut(source: Path, place: Path, kind: str) -> bool:
    """Whether one class with another format, size or tint is told."""
    folder = place / f"shortcut-{kind}"
    first, *others = sorted(path for path in source.iterdir() if path.is_dir())
    for name in (first, *others):
        (folder / name.name).mkdir(parents=True)
        for number, path in enumerate(images_of(name)):
            picture, odd = upright(path), name == first
            if kind == "size":
                picture = picture.resize((61, 61) if odd else (64, 64))
            if kind == "tint" and odd:
                picture = Image.fromarray((np.asarray(picture) * [0.55, 1.0, 1.0]).astype(np.uint8))
            ending = ".bmp" if kind == "format" and odd else ".png"
            picture.save(folder / name.name / f"{number}{ending}")
    found = [one for one in inspect(CheckRequest(data=folder), SilentListener()).findings if one.kind == "shortcut"]
    word = {"size": "size", "tint": "colour", "format": "format"}[kind]
    return any(word in one.detail for one in found)


def tried(source: Path, each: int) -> None:
    """Print a block for a folder."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["STEADYNET_CACHE"] = str(place / "cache")
        before, seconds = named(source)
        clean = ", ".join(f"{kind} {len(files)}" for kind, files in before.items())
        print(f"\n{source.parent.name}/{source.name}: {len(images_of(source))} images, {seconds:.1f} s; files: {clean}")
        copy, test = Copy(source, place, each), place / "test"
        copy.plant(test)
        after, seconds = named(copy.folder, test)
        for kind, planted in copy.planted.items():
            kinds = COPIES if kind in COPIES else (kind,)
            told = {Path(file).name for one in kinds for file in after.get(one, set())}
            hits = sum(Path(file).name in told for file in planted)
            exact = sum(Path(file).name in {Path(one).name for one in after.get(kind, set())} for file in planted)
            print(f"  {kind:15} found {hits} of {len(planted)}, {exact} by this name")
        allowed = {Path(file).name for file in copy.touched} | {
            Path(f).name for files in before.values() for f in files
        }
        alarms = {
            kind: len({Path(file).name for file in files} - allowed)
            for kind, files in after.items()
            if kind in ("corrupt", "blank", "leak", *COPIES)
        }
        print(f"  besides, untouched files: {alarms}; {seconds:.1f} s")
        plain = "shortcut" in before
        told = {kind: shortcut(source, place, kind) for kind in ("format", "size", "tint")}
        print(f"  shortcuts told: {told}{'; one is told of the untouched folder' if plain else ''}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, type=Path)
    parser.add_argument("--each", type=int, default=10, help="faults of a kind")
    options = parser.parse_args()
    print(machine("pillow", "numpy", "scikit-learn"), flush=True)
    for folder in options.data:
        tried(folder, options.each)


if __name__ == "__main__":
    main()
