"""The network is the one whose weights the packages hold, shown by a forward pass of another kind.

The oracle takes everything but the strides from the tensors of the file: a loop over its blocks, with the padding of
TensorFlow by hand.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from search.data.torch_file import read_torch_file
from search.data.weight_files import find_weights
from search.training.backbones import build_backbone
from search.training.efficientnet_lite import efficientnet_lite, load_torch_weights
from spaces.backbones import BACKBONES
from tests.torch_files import torch_file

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras' own, while it saves

LITE = [name for name, known in BACKBONES.items() if known.family == "efficientnet_lite"]
HALVING = {"efficientnet_lite0": (1, 3, 5, 11), "efficientnet_lite2": (1, 4, 7, 15)}  # blocks with stride 2

Tensors = dict[str, np.ndarray]


def installed(name: str) -> Path:
    path = find_weights("imagenet", [name])[name].path
    assert path is not None
    return path


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """A convolution with a PyTorch kernel, depthwise if it has one input channel; an odd pixel is padded behind."""
    side = kernel.shape[-1]
    pads = [max(0, (-(-length // stride) - 1) * stride + side - length) for length in x.shape[1:3]]
    x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    if kernel.shape[1] == 1:
        filters = kernel[:, 0].transpose(1, 2, 0)[..., None]
        return tf.nn.depthwise_conv2d(x, filters, [1, stride, stride, 1], "VALID").numpy()
    return tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, "VALID").numpy()


def oracle(tensors: Tensors, name: str, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last and middle feature map of images 0..255."""

    def step(x: np.ndarray, convolution: str, norm: str, *, stride: int = 1, is_linear: bool = False) -> np.ndarray:
        x = convolve(x, tensors[f"{convolution}.weight"], stride)
        mean, variance = tensors[f"{norm}.running_mean"], tensors[f"{norm}.running_var"]
        x = (x - mean) / np.sqrt(variance + 1e-3) * tensors[f"{norm}.weight"] + tensors[f"{norm}.bias"]
        return x if is_linear else x.clip(0, 6)

    x = step((pixels - 127) / 128, "_conv_stem", "_bn0", stride=2)
    middle = x
    for number in range(1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("_blocks."))):
        block, before = f"_blocks.{number}", x
        if f"{block}._expand_conv.weight" in tensors:
            x = step(x, f"{block}._expand_conv", f"{block}._bn0")
        middle = x if number == HALVING[name][-1] else middle
        x = step(x, f"{block}._depthwise_conv", f"{block}._bn1", stride=2 if number in HALVING[name] else 1)
        x = step(x, f"{block}._project_conv", f"{block}._bn2", is_linear=True)
        x = x + before if x.shape == before.shape else x
    return step(x, "_conv_head", "_bn1"), middle


def random_tensors(name: str) -> Tensors:
    """Tensors of the names and shapes of the package's file, by which signals of about 1 reach the end."""
    rng = np.random.default_rng(1)
    tensors = {}
    for key, array in read_torch_file(installed(name)).items():
        if key.endswith("num_batches_tracked"):
            tensors[key] = array
        elif array.ndim == 4:
            tensors[key] = rng.normal(0, np.sqrt(1 / np.prod(array.shape[1:])), array.shape).astype(np.float32)
        else:
            low, high = (-0.5, 0.5) if key.endswith(("bias", "mean")) else (0.5, 1.5)
            tensors[key] = rng.uniform(low, high, array.shape).astype(np.float32)
    return tensors


def photograph(name: str, side: int, share: float = 1.0) -> np.ndarray:
    """`(1, side, side, 3)` float32: the middle of a photograph of scikit-learn, `share` of its shorter side."""
    picture = Image.fromarray(load_sample_image(name))
    edge = int(share * min(picture.size))
    left, top = ((length - edge) // 2 for length in picture.size)
    cut = picture.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(cut, np.float32)[None]


@pytest.mark.parametrize("name", LITE)
@pytest.mark.parametrize("source", ["random", "package"])
def test_both_maps_are_those_of_another_forward_pass(name: str, source: str, tmp_path: Path) -> None:
    path = installed(name)
    if source == "random":
        path = tmp_path / "random.pth"
        path.write_bytes(torch_file(random_tensors(name)))
    tensors = dict(read_torch_file(path))
    built = build_backbone(name, 3, path, with_middle=True)
    for pixels in (photograph("china.jpg", 96), photograph("flower.jpg", 101)[:, :50]):
        last, middle = (np.asarray(part) for part in built(pixels))
        expected, expected_middle = oracle(tensors, name, pixels)
        assert last.shape == expected.shape
        assert expected.std() > 0.1
        np.testing.assert_allclose(last, expected, atol=1e-4)
        np.testing.assert_allclose(middle, expected_middle, atol=1e-4)
        assert middle.shape[-1] == BACKBONES[name].middle_features


@pytest.mark.parametrize(
    ("name", "picture", "top"),
    [
        ("efficientnet_lite0", "china.jpg", {698: 0.360, 442: 0.141, 663: 0.082, 975: 0.045, 483: 0.045}),
        ("efficientnet_lite0", "flower.jpg", {985: 0.327, 947: 0.048, 309: 0.048, 108: 0.045, 310: 0.025}),
        ("efficientnet_lite2", "china.jpg", {698: 0.338, 442: 0.078, 483: 0.051, 975: 0.028, 497: 0.022}),
        ("efficientnet_lite2", "flower.jpg", {599: 0.293, 310: 0.030, 309: 0.025, 619: 0.023, 957: 0.019}),
    ],
)
def test_photographs_are_classified_as_before(name: str, picture: str, top: dict[int, float]) -> None:
    """By the file's own classification layer. Of ImageNet's classes 698 is a palace, 985 a daisy, 599 a honeycomb."""
    side = {"efficientnet_lite0": 224, "efficientnet_lite2": 260}[name]
    pixels = photograph(picture, side, share=side / (side + 32))
    features = np.asarray(build_backbone(name, 3, installed(name))(pixels)).mean((1, 2))
    tensors = read_torch_file(installed(name))
    logits = features[0] @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    assert set(probabilities.argsort()[-len(top) :]) == set(top)  # some of the five are equally likely
    np.testing.assert_allclose(probabilities[list(top)], list(top.values()), atol=0.005)


def test_it_is_saved_as_plain_keras_layers(tmp_path: Path) -> None:
    built = build_backbone("efficientnet_lite0", 3, installed("efficientnet_lite0"))
    assert {type(layer).__module__.split(".")[0] for layer in built.layers[-1].layers} == {"keras"}
    built.save(tmp_path / "saved.keras")
    pixels = photograph("flower.jpg", 64)
    again = keras.saving.load_model(tmp_path / "saved.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(again(pixels), built(pixels))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("_bn0.bias"), "expected a tensor _bn0.bias for the layer stem_bn, got none"),
        (lambda tensors: tensors.update(more=np.zeros(1, np.float32)), "got also more"),
        (lambda tensors: tensors.update({"_bn0.bias": np.zeros(31, np.float32)}), "stem_bn"),
    ],
)
def test_other_tensors_are_refused(change, said: str, tmp_path: Path) -> None:
    tensors = dict(read_torch_file(installed("efficientnet_lite0")))
    change(tensors)
    path = tmp_path / "other.pth"
    path.write_bytes(torch_file(tensors))
    with pytest.raises(ValueError, match=said):
        load_torch_weights(efficientnet_lite(width=1.0, depth=1.0), path)
