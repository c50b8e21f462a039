"""Download of pretrained weights to the folder in which Keras keeps its own, each file against its digest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO, Final

from spaces.backbones import Backbone

MIRROR: Final = "STEADYNET_WEIGHTS_URL"
"""Environment variable with the address of a mirror of Keras' weights."""

ORIGIN: Final = "https://storage.googleapis.com/tensorflow/keras-applications"
"""Address of Keras' weights, if no mirror is set."""

SECONDS: Final = 900.0
"""Time limit of all downloads of one start together."""

_SILENT_SECONDS: Final = 30.0  # without a byte, after which a download has failed
_CHUNK: Final = 1 << 18  # bytes
_DIGESTS: Final = {32: "md5", 64: "sha256"}  # hexadecimal digits of a digest -> its algorithm

OnProgress = Callable[[int, int], None]
"""Function that is called with the bytes that have come and those of the whole file (0: unknown)."""


class DownloadError(Exception):
    """A file can't be had. The message is a reason in a few words."""


def download(backbone: Backbone, folder: Path, deadline: float, on_progress: OnProgress) -> Path:
    """Download the weights of a backbone. The file appears under its name when it is whole and its digest is right.

    Args:
        backbone: card of the backbone, with the place and the digest of its file.
        folder: folder to write to; made if it is missing.
        deadline: time by `time.monotonic()` at which to give up.
        on_progress: called as bytes arrive; may raise to end the download.

    Returns:
        The file.

    Raises:
        DownloadError: there is no connection, no such file, no time or no room left, or the digest is another one.
    """
    address = f"{(os.environ.get(MIRROR) or ORIGIN).rstrip('/')}/{backbone.place}/{backbone.file}"
    if not address.startswith(("https://", "http://")):
        raise DownloadError(f"{MIRROR} must begin with https:// or http://, got {address.partition('/')[0]!r}")
    target = folder / backbone.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{backbone.file}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                request = urllib.request.Request(address, headers={"User-Agent": "steadynet"})
                with urllib.request.urlopen(request, timeout=_SILENT_SECONDS) as answer:
                    digest = _copied(answer, file, backbone.digest, deadline, on_progress)
            if backbone.digest and digest != backbone.digest:
                raise DownloadError(f"its digest is {digest}, expected {backbone.digest}")
            Path(name).chmod(0o644)
            Path(name).replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{address}: {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise DownloadError(f"{address}: {error.reason}") from None
    except (OSError, ValueError) as error:  # the disk, a connection that breaks, an address that is none
        raise DownloadError(f"{address}: {error or type(error).__name__}") from None
    return target


def _copied(answer: HTTPResponse, file: BinaryIO, expected: str, deadline: float, on_progress: OnProgress) -> str:
    """Copy what the server sends to a file. Returns its digest by the algorithm of the expected one."""
    digest = hashlib.new(_DIGESTS[len(expected) or 64], usedforsecurity=False)
    total = int(answer.headers.get("Content-Length") or 0)
    done = 0
    while chunk := answer.read(_CHUNK):
        if time.monotonic() > deadline:
            raise DownloadError(f"the time for downloads, {SECONDS / 60:.0f} minutes, is over")
        file.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        on_progress(done, total)
    if total and done != total:
        raise DownloadError(f"only {done:,} of {total:,} bytes came")
    return digest.hexdigest()
