"""Features of frozen backbones: what making them costs, and how soon the first configuration on them is judged.

    python -m benchmarks.features predict --data DIR [--side 224] [--rounds 5]
    python -m benchmarks.features start --data DIR [--times 3]
    python -m benchmarks.features memory --data DIR [--side 224] [--images 20000]

`predict`: our embeddings of all images of a folder against `predict` of the same Keras network with the same pooling,
in turn, each in a process of its own with its network traced before; the ratio of each round. `start`: seconds from the
command to the first trial that is complete, with an empty cache and again with the cache that this filled. `memory`:
main memory of a process (without pages of files, which the system can drop) when TensorFlow has run for the first time,
and the most while it embeds many images, which repeat those of the folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna

from benchmarks.machine import machine
from search.data.format_choice import FormatChoice
from search.data.images import load_images
from search.data.scanned_folder import scan_folder
from search.data.weight_files import find_weights
from search.errors import UserError
from search.events import SilentListener
from search.storage.database import open_storage
from spaces.backbones import AUTO

NAME: Final = "efficientnet_lite0"
_BATCH: Final = 64
_LONGEST: Final = 600.0  # seconds until a first trial
_EVERY: Final = 0.1  # seconds between looks
_HERE: Final = Path(__file__).parents[1]

embed: Any  # in each process of `predict`: the function that is timed


def pixels(folder: Path, side: int) -> Path:
    """File of the decoded images `(n, side, side, 3)`."""
    scanned = scan_folder(folder, SilentListener())
    return load_images(scanned, FormatChoice(image_size=side, size_cap=side), SilentListener()).path


def begin(path: Path, is_ours: bool) -> None:
    """Prepare a process: ours embeds as a worker does, the other calls `predict`."""
    global embed
    embed = _ours(path) if is_ours else _bare(path)
    embed()


def _ours(path: Path) -> Any:
    from search.training import device

    device.set_up(None, None)
    from search.training.backbones import first_weights
    from search.training.embeddings import FrozenBackbone
    from spaces.image_format import ImageFormat

    known = find_weights(AUTO, [NAME])[NAME]
    images = device.load_pixels(path, None)
    side, channels = images.shape[1], images.shape[3]
    device.adapt(side)
    weights = first_weights(NAME, channels, known.path)
    image_format = ImageFormat(image_size=side, channels=channels)
    backbone = FrozenBackbone(NAME, image_format, weights, known.digest, path, images)
    return lambda: backbone.embed(images, np.arange(images.shape[0]), None)


def _bare(path: Path) -> Any:
    import keras

    from search.training.backbones import build_backbone

    images = np.load(path)
    backbone = build_backbone(NAME, images.shape[3], find_weights(AUTO, [NAME])[NAME].path, with_middle=True)
    means = [keras.layers.GlobalAveragePooling2D()(features) for features in backbone.outputs]
    network = keras.Model(backbone.inputs, keras.layers.Concatenate()(means))
    return lambda: network.predict(images, batch_size=_BATCH, verbose=0)


def timed() -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    features = embed()
    return time.perf_counter() - started, features


def predict(folder: Path, side: int, rounds: int) -> None:
    """Print the ratio of the seconds of ours to those of `predict`."""
    path, ratios = pixels(folder, side), []
    with _process(path, is_ours=True) as ours, _process(path, is_ours=False) as bare:
        for number in range(rounds):
            order = (ours, bare) if number % 2 == 0 else (bare, ours)
            seconds = {one: one.submit(timed).result() for one in order}
            (own, features), (other, expected) = seconds[ours], seconds[bare]
            ratios.append(own / other)
            apart = np.abs(features[:, -expected.shape[1] :] - expected).max()
            print(f"{number}: ours {own:.2f} s, predict {other:.2f} s, features apart {apart:.1e}", flush=True)
    print(f"{NAME} at {side}: {statistics.median(ratios):.3f} of predict ({min(ratios):.3f} to {max(ratios):.3f})")


@contextmanager
def _process(path: Path, *, is_ours: bool) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, get_context("spawn"), begin, (path, is_ours)) as pool:
        pool.submit(os.getpid).result()  # until it is there
        yield pool


def start(folder: Path, times: int) -> None:
    """Print the seconds to the first complete trial."""
    found: dict[str, list[float]] = {"empty cache": [], "second run": []}
    for number in range(times):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            for what, seconds in found.items():
                seconds.append(first_judged(folder, Path(place) / what.replace(" ", "_"), Path(place) / "cache"))
                time.sleep(6)  # workers of a killed coordinator end within five seconds
        print(f"{number}: " + ", ".join(f"{what} {seconds[-1]:.1f} s" for what, seconds in found.items()), flush=True)
    for what, seconds in found.items():
        print(f"{what}: median {statistics.median(seconds):.1f} s, {min(seconds):.1f} to {max(seconds):.1f}")


def first_judged(folder: Path, out: Path, cache: Path) -> float:
    """Seconds from the command to the first complete trial of a new search, which is then killed."""
    command = [sys.executable, "run_search.py", "--data", str(folder), "--out", str(out), "--quiet", "--timeout", "15m"]
    environment = os.environ | {"STEADYNET_CACHE": str(cache)}
    began, clock = time.time(), time.monotonic()
    with subprocess.Popen(
        command, cwd=_HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as search:
        try:
            while time.monotonic() - clock < _LONGEST and search.poll() is None:
                time.sleep(1.0)
                if ended := _ended(out):
                    return min(ended) - began
            raise RuntimeError(f"no trial is complete after {time.monotonic() - clock:.0f} s")
        finally:
            search.send_signal(signal.SIGKILL)


def _ended(out: Path) -> list[float]:
    """Moments at which trials were complete, in seconds since 1970."""
    with suppress(UserError, KeyError):
        study = optuna.load_study(study_name="steadynet", storage=open_storage(out, create=False))
        trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        return [trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete]
    return []


def memory(folder: Path, side: int, count: int) -> None:
    """Print the main memory before and while images are embedded."""
    few = np.load(pixels(folder, side), mmap_mode="r")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "images.npy"
        many = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, *few.shape[1:]))
        for first in range(0, count, len(few)):
            many[first : first + len(few)] = few[: count - first]
        many.flush()
        del many
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            before, most, seconds = pool.submit(_embedding, path).result()
    print(
        f"{count:,} images at {side}: {before / 1e6:,.0f} MB with TensorFlow, at most {(most - before) / 1e6:,.0f} MB "
        f"more while they are embedded, in {seconds:.0f} s"
    )


def _embedding(path: Path) -> tuple[int, int, float]:
    import tensorflow as tf

    tf.reduce_sum(tf.zeros(1)).numpy()
    before, done, looks = _own_bytes(), threading.Event(), []

    def watch() -> None:
        while not done.wait(_EVERY):
            looks.append(_own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        started = time.perf_counter()
        _ours(path)()
        seconds = time.perf_counter() - started
    finally:
        done.set()
        watcher.join()
    return before, max(looks), seconds


def _own_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("predict", "start", "memory"))
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--images", type=int, default=20_000)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(machine("tensorflow", "keras", "numpy"), flush=True)
    match options.what:
        case "predict":
            predict(options.data, options.side, options.rounds)
        case "start":
            start(options.data.resolve(), options.times)
        case _:
            memory(options.data, options.side, options.images)


if __name__ == "__main__":
    main()
