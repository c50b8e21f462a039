"""Files of Vision Transformers: read in three float types, and refused if of another network or damaged."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from search.data.safetensors_file import SafetensorsFileError
from search.data.vit_file import VitShape, check_vit_file, read_vit_file
from search.data.weight_files import find_weights
from search.errors import UserError
from spaces.backbones import BACKBONES
from tests.vit_files import WIDTH, put_vit, random_tensors, small

NAMES = [name for name, card in BACKBONES.items() if card.is_transformer]


def shape_of(name: str) -> VitShape:
    return VitShape.of(small(name))


@pytest.mark.parametrize("name", NAMES)
def test_all_kinds_are_read_under_the_same_names(name: str, tmp_path: Path) -> None:
    put_vit(tmp_path / "some.safetensors", shape_of(name))
    tensors = read_vit_file(tmp_path / "some.safetensors", shape_of(name))
    layers = ["norm_1", "query", "key", "value", "output", "norm_2", "mlp_1", "mlp_2"]
    expected = {f"block_1.{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert expected <= set(tensors)
    assert tensors["block_1.value.weight"].shape == (WIDTH, WIDTH)
    assert {"patch.weight", "patch.bias", "position", "norm.weight"} <= set(tensors)
    assert not any("qkv" in key for key in tensors)


def test_query_key_and_value_of_one_tensor_are_its_thirds(tmp_path: Path) -> None:
    stored = put_vit(tmp_path / "some.safetensors", shape_of("vit_small"))
    tensors = read_vit_file(tmp_path / "some.safetensors", shape_of("vit_small"))
    joined = np.concatenate([tensors[f"block_0.{part}.weight"] for part in ("query", "key", "value")])
    np.testing.assert_array_equal(joined, stored["blocks.0.attn.qkv.weight"])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_read_as_float32(dtype: Any, tmp_path: Path) -> None:
    tensors = random_tensors(shape_of("siglip2_base"))
    save_file({name: values.astype(dtype) for name, values in tensors.items()}, tmp_path / "half.safetensors")
    values = read_vit_file(tmp_path / "half.safetensors", shape_of("siglip2_base"))["norm.weight"]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, tensors["vision_model.post_layernorm.weight"].astype(dtype))


def stored(name: str, path: Path, **changes: Any) -> Path:
    """A file with some tensors left out (None) or replaced."""
    tensors = {**random_tensors(shape_of(name)), **{key.replace("_dot_", "."): each for key, each in changes.items()}}
    save_file({key: values for key, values in tensors.items() if values is not None}, path)
    return path


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("vit_small", {"blocks_dot_1_dot_mlp_dot_fc2_dot_bias": None}, r"a tensor blocks\.1\.mlp\.fc2\.bias, got none"),
        ("vit_small", {"pos_embed": np.zeros((1, 5, WIDTH), np.float32)}, r"\(1, 197, 24\), got \(1, 5, 24\)"),
        ("dinov2_small", {"embeddings_dot_register_tokens": np.zeros((1, 4, WIDTH), np.float32)}, "register_tokens"),
        ("siglip2_base", {"vision_model_dot_head_dot_probe": np.zeros((2, 2), np.float32)}, r"\(1, 1, 24\), got"),
        ("vit_small", {"blocks_dot_2_dot_norm1_dot_bias": np.zeros(WIDTH, np.float32)}, "only, got also 'blocks.2"),
    ],
)
def test_another_network_is_refused(name: str, changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = stored(name, tmp_path / "some.safetensors", **changes)
    with pytest.raises(SafetensorsFileError, match=said):
        check_vit_file(path, shape_of(name))
    with pytest.raises(SafetensorsFileError, match=said):
        read_vit_file(path, shape_of(name))


def test_integers_are_refused(tmp_path: Path) -> None:
    path = stored("vit_small", tmp_path / "some.safetensors", cls_token=np.zeros((1, 1, WIDTH), np.int64))
    with pytest.raises(SafetensorsFileError, match="cls_token as one of F32, F16, BF16, got I64"):
        read_vit_file(path, shape_of("vit_small"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_each_network_takes_its_own_file_only(name: str, other: str, tmp_path: Path, monkeypatch) -> None:
    for each in NAMES:
        sizes = dict(small(each).options) | {"width": 2 * WIDTH if each.endswith("base") else WIDTH}
        monkeypatch.setitem(BACKBONES, each, replace(small(each), options=tuple(sizes.items())))
    path = tmp_path / BACKBONES[name].file
    put_vit(path, VitShape.of(BACKBONES[name]))
    if name != other:
        with pytest.raises(UserError, match=f"these are not the weights of {other}") as caught:
            find_weights(f"{other}={path}", NAMES)
        assert "\n" not in str(caught.value)
        return
    found = find_weights(str(tmp_path), NAMES)
    assert list(found) == [name]
    assert found == find_weights(str(path), NAMES) == find_weights(f"{name}={path}", NAMES)


def header(entries: dict[str, Any], numbers: bytes, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + numbers


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
GOOD = save(random_tensors(shape_of("vit_small")))


HOSTILE = {
    "empty": b"",
    "pickle": b"\x80\x02}q\x00.",
    "a byte less": GOOD[:-1],
    "half of it": GOOD[: len(GOOD) // 2],
    "header cut off": GOOD[:100],
    "a byte more": GOOD + b"\0",
    "same place": header({"a": ONE, "b": ONE}, b"\0" * 8),
    "overlap": header({"a": ONE, "b": {**ONE, "data_offsets": [4, 12]}}, b"\0" * 12),
    "hole of a name of lines": header({"a": ONE, "b\nc": {**ONE, "data_offsets": [12, 20]}}, b"\0" * 20),
    "hole": header({"a": ONE, "b": {**ONE, "data_offsets": [12, 20]}}, b"\0" * 20),
    "more than there is": header({"a": {**ONE, "shape": [2**40]}}, b"\0" * 8),
    "overflow": header({"a": {**ONE, "shape": [2**32, 2**32]}}, b"\0" * 8),
    "huge": header({"a": {**ONE, "shape": [2**40], "data_offsets": [0, 2**42]}}, b"\0" * 8),
    "negative": header({"a": {**ONE, "shape": [-2]}}, b"\0" * 8),
    "unknown type": header({"a": {**ONE, "dtype": "PICKLE"}}, b"\0" * 8),
    "huge header": header({"a": ONE}, b"\0" * 8, length=2**63),
    "long header": header({"a": ONE}, b"\0" * 8, length=10**9),
    "no tensors": header({}, b""),
    "deep header": (10**5).to_bytes(8, "little") + b"[" * 10**5,
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_files_are_one_line(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "vit_small.safetensors"
    path.write_bytes(HOSTILE[fault])
    with pytest.raises(UserError, match="these are not the weights of vit_small") as caught:
        find_weights(str(path), NAMES)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_headers_never_end_in_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    length = 8 + int.from_bytes(GOOD[:8], "little")
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, length - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "some.safetensors"
    path.write_bytes(changed)
    with suppress(SafetensorsFileError):
        read_vit_file(path, shape_of("vit_small"))


def test_they_come_in_files_of_the_users_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert not set(find_weights("auto", tuple(BACKBONES))) & set(NAMES)
    assert set(find_weights("random", tuple(BACKBONES))) == set(BACKBONES) - set(NAMES)
    assert list(find_weights("random", ["vit_small"])) == ["vit_small"]
    with pytest.raises(UserError, match=re.escape("of vit_small are neither downloaded nor installed. Pass --weights")):
        find_weights("imagenet", ["vit_small"])
