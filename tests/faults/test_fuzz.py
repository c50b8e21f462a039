"""Files from strangers, thousands of them, each nearly right: read, or refused in one line. No traceback, no hang.

A few hundred cases in the normal run; `make faults` tries 10,000 a kind.
"""

from __future__ import annotations

import json
import os
import random
import time
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from reports.live_status import read_status, status_lines
from search.data.decode import UnreadableImage, decode, miniature, probe
from search.data.folds import make_folds
from search.data.groups import read_groups
from search.data.scan import scan
from search.delivery import card
from search.errors import UserError
from search.records import STATUS_FILE
from search.training.checkpoint import Checkpoint
from spaces.best_config import load_best_config
from spaces.config import ConfigurationError
from spaces.definitions import SpaceError
from spaces.image_format import ImageFormat
from spaces.yaml_io import load_configurations, load_space
from tests.search.data.test_decode import png_of_16_bits, tiff_of_16_bits
from tests.search.training.test_checkpoint import checkpoint

CASES: Final = 10_000 if os.environ.get("STEADYNET_FAULTS") else 60
LONGEST: Final = 5.0
"""Seconds that a case may take: a file of a few kilobytes that takes more is a trap."""

many = settings(
    max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

WORDS: Final = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b"\t",
    b'"',
    b"'",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!python/object/apply:os.system [id]",
    b"!!binary aGk=",
    b"---\n",
    b"...\n",
    b"? ",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"|",
    b">",
    b"%YAML 9.9\n",
    b"#",
    b",",
    b";",
    b"9" * 40,
    b"-1",
    b"1e999",
    b".nan",
    b".inf",
    b"~",
    b"null",
    b"true",
    b"0x7fffffffffffffff",
    b"1:30:00",
    b"2026-11-22",
    "\u202e".encode(),
    "\u2028".encode(),
    b"\x1b[31m",
    b"=cmd()",
    b"../../etc/passwd",
    b"<script>",
)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few cuts, doublings and insertions, anywhere."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cut", "double", "word", "byte", "swap"]),
                st.floats(0, 1),
                st.integers(1, 40),
                st.one_of(st.sampled_from(WORDS), st.binary(min_size=1, max_size=6)),
            ),
            max_size=5,
        )
    )

    def changed(text: bytes) -> bytes:
        for what, place, length, word in steps:
            at = round(place * len(text))
            if what == "cut":
                text = text[:at] + text[at + length :]
            elif what == "double":
                text = text[: at + length] + text[at:]
            elif what == "word":
                text = text[:at] + word + text[at:]
            elif what == "byte":
                text = text[:at] + word[:1] + text[at + 1 :]
            else:
                text = text[at:] + text[:at]
        return text

    return changed


def in_time(work: Callable[[], object], *, refusals: tuple[type[Exception], ...], word: str = "") -> None:
    """It ends, with an answer or with one of these errors, whose text is one line that names what is wrong."""
    started, told = time.monotonic(), None
    try:
        work()
    except refusals as error:
        told = str(error)
    if told is not None:
        assert told.strip(), "an error without a word"
        assert word in told
    assert time.monotonic() - started < LONGEST


SPACE: Final = b"""\
preset: core
n_conv: {low: 1, high: 4}
learning_rate: {low: 1e-4, high: 1e-2, log: true}
initializer: {choices: [he_normal, glorot_uniform]}
dropout: {value: 0.2}
batch_size: {choices: [16, 32]}
"""
START: Final = b"""\
- {n_conv: 3, n_dense: 0, initializer: he_normal, dropout: 0.2, class_weighting: none, oversampling: none,
   batch_size: 16, learning_rate: 1e-3}
- {n_conv: 1, n_dense: 2, initializer: glorot_uniform, dropout: 0.5, class_weighting: balanced, oversampling: none,
   batch_size: 32, learning_rate: 0.01}
"""
LABELS: Final = b"file,label\na/1.png,cat\na/2.png,dog\nb/3.png,cat\n"
GROUPS: Final = b"file,group\ntrain/a/1.png,x\ntrain/a/2.png,x\ntrain/b/3.png,y\n"


@many
@given(changes())
def test_spaces(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(changed(SPACE))
    in_time(lambda: load_space(str(path)), refusals=(SpaceError,), word="space.yaml")


@many
@given(changes())
def test_configurations(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "start.yaml"
    path.write_bytes(changed(START))
    in_time(lambda: load_configurations(path), refusals=(ConfigurationError,), word="start.yaml")


@many
@given(changes())
def test_best_configurations(tmp_path: Path, best_config: bytes, changed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "best_config.yaml"
    path.write_bytes(changed(best_config))
    in_time(lambda: load_best_config(path), refusals=(ConfigurationError,), word="best_config.yaml")


@many
@given(changes())
def test_group_tables(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(changed(GROUPS))
    files = ("a/1.png", "a/2.png", "b/3.png")
    in_time(lambda: read_groups(path, folder=tmp_path / "train", files=files), refusals=(UserError,), word="groups.csv")


@many
@given(changes())
def test_label_tables(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).touch()
    path = tmp_path / "labels.csv"
    path.write_bytes(changed(LABELS))
    quiet = lambda *told: None  # noqa: E731
    in_time(lambda: scan(tmp_path / "train", labels=path, on_progress=quiet), refusals=(UserError,), word="labels.csv")


@many
@given(changes())
def test_checkpoints(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    checkpoint().write(tmp_path / "a.npz")
    path = tmp_path / "a.npz"
    path.write_bytes(changed(path.read_bytes()))
    in_time(lambda: Checkpoint.read(path), refusals=())


@many
@given(changes())
def test_folds_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: Callable[[bytes], bytes]) -> None:
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path))
    labels, groups = np.repeat([0, 1], 6), np.arange(12) // 2
    made = make_folds(labels, folds=3, seed=0, groups=groups, cached=True)
    (entry,) = tmp_path.glob("*.folds.json")
    entry.write_bytes(changed(entry.read_bytes()))
    again = make_folds(labels, folds=3, seed=0, groups=groups, cached=True)
    for fold in again:
        assert not set(groups[fold.train]) & set(groups[fold.val])
    assert sorted(np.concatenate([fold.val for fold in again]).tolist()) == list(range(12))
    assert len(again) == len(made)
    entry.unlink(missing_ok=True)


@many
@given(changes())
def test_status_files(tmp_path: Path, changed: Callable[[bytes], bytes]) -> None:
    known = {
        "schema": 1,
        "pid": 1,
        "host": "here",
        "started": 1.7e9,
        "state": "working",
        "stage": "Searching",
        "until": None,
        "ends": 1.7e9,
        "next_hours": None,
        "budget_ends": 1.7e9,
        "trials": 3,
        "of": 20,
        "best": 0.8,
        "best_trial": 1,
        "updated": 1.7e9,
        "collapses": {"dead-layer": 2},
        "running": [{"trial": 3, "fold": 1, "folds": 5, "epoch": 2, "epochs": 30}],
    }
    (tmp_path / STATUS_FILE).write_bytes(changed(json.dumps(known).encode()))

    def read() -> None:
        found = read_status(tmp_path)
        assert found is not None
        lines = status_lines(found, is_held=True, now=1.7e9 + 5)
        assert all(line.isprintable() for line in lines), lines

    in_time(read, refusals=(UserError,))


def pictures() -> dict[str, bytes]:
    """A picture of each format that is read, small, with everything that the format may hold."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (40, 56, 3), np.uint8))
    kinds: dict[str, tuple[dict[str, Any], Image.Image]] = {
        "jpg": ({}, image),
        "progressive.jpg": ({"progressive": True, "format": "JPEG"}, image),
        "png": ({}, image),
        "16.png": ({"format": "PNG"}, Image.fromarray(rng.integers(0, 65536, (40, 56), np.uint16))),
        "palette.png": ({"format": "PNG"}, image.quantize(16)),
        "gif": ({"save_all": True, "append_images": [image.rotate(90)]}, image),
        "bmp": ({}, image),
        "tif": ({"format": "TIFF"}, image),
        "lzw.tif": ({"format": "TIFF", "compression": "tiff_lzw"}, image),
        "webp": ({}, image),
    }
    found = {}
    for name, (options, picture) in kinds.items():
        buffer = BytesIO()
        picture.save(buffer, **{"format": {"jpg": "JPEG"}.get(name, name.upper()), **options})
        found[name] = buffer.getvalue()
    found["colours of 16 bits.png"] = png_of_16_bits(rng.integers(0, 4096, (40, 56, 3)))
    found["colours of 16 bits.tif"] = tiff_of_16_bits(rng.integers(0, 4096, (40, 56, 3)), "<")
    return found


PICTURES: Final = pictures()


@many
@given(st.sampled_from(sorted(PICTURES)), changes(), st.integers(0, 2**32))
def test_pictures(tmp_path: Path, name: str, changed: Callable[[bytes], bytes], seed: int) -> None:
    content = bytearray(changed(PICTURES[name]))
    draw = random.Random(seed)
    for _ in range(draw.randrange(8)):  # in the header, where sizes, depths and offsets stand
        if content:
            content[draw.randrange(min(len(content), 120))] = draw.choice([0, 1, 127, 128, 255, draw.randrange(256)])
    path = tmp_path / name
    path.write_bytes(content)

    for ask in (
        probe,
        lambda path: decode(path, ImageFormat(image_size=16, channels=3)),
        lambda path: miniature(path, side=16),
    ):
        in_time(partial(ask, path), refusals=(UnreadableImage,))


@many
@given(changes())
def test_cards_of_models(tmp_path: Path, model: bytes, changed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(changed(model))
    in_time(lambda: card.read(path), refusals=(UserError,), word="model")


@pytest.fixture(scope="module")
def model() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(card._KERAS, "{}")
        archive.writestr(card.CARD, json.dumps({"schema": 1, "classes": ["a", "b"], "decision_offset": [0.0, 0.0]}))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def best_config() -> bytes:
    from reports.best_config import best_config_text
    from tests.reports import fake_results as fake

    results = fake.results(fake.trials(3))
    assert results.recommended is not None
    return best_config_text(results, results.recommended).encode()
