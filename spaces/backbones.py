"""Pretrained networks of `keras.applications`, without their top, that may replace the convolutions of a network.

Each expects its own pixel scaling. A wrong scaling is itself a cause of networks that do not learn, so it is fixed here
and never searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Feeding = Literal["tf", "caffe", "inside"]
"""Scaling of pixels 0..255 that a backbone expects: "tf" to -1..1, "caffe" BGR less the means of ImageNet, "inside"
none, as the network scales by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A pretrained network of `keras.applications`.

    Attributes:
        builder: name of its function in `keras.applications`.
        options: keyword arguments of the builder.
        feeding: scaling of the pixels that it expects.
        features: channels of its last feature map.
        weights: number of its weights.
        last_block: beginning of the name of its last block's first layer.
        batchnorm: whether it has batch normalization.
        smallest: least side of an image, in pixels, for which its last feature map is not empty.
        file: name of its ImageNet weights in Keras' cache.
    """

    builder: str
    options: tuple[tuple[str, float], ...] = ()
    feeding: Feeding
    features: int
    weights: int
    last_block: str
    batchnorm: bool = True
    smallest: int = 32
    file: str


NO_BACKBONE: Final = "none"
IMAGENET: Final = "imagenet"  # first weights as Keras ships them
RANDOM: Final = "none"  # no first weights
TRAINABLE: Final = ("frozen", "last_block", "all")
STATISTICS: Final = ("kept", "re_estimated", "adapted")
POOLED: Final = ("average", "max")
"""Heads that go with a backbone: its last feature map is too small to pool parts of it."""

BACKBONES: Final[dict[str, Backbone]] = {
    "mobilenet_025": Backbone(
        builder="MobileNet",
        options=(("alpha", 0.25),),
        feeding="tf",
        features=256,
        weights=218_544,
        last_block="conv_dw_13",
        file="mobilenet_2_5_224_tf_no_top.h5",
    ),
    "mobilenet_v3_small": Backbone(
        builder="MobileNetV3Small",
        feeding="inside",
        features=576,
        weights=939_120,
        last_block="expanded_conv_10",
        file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "mobilenet_v2": Backbone(
        builder="MobileNetV2",
        feeding="tf",
        features=1280,
        weights=2_257_984,
        last_block="block_16",
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ),
    "mobilenet": Backbone(
        builder="MobileNet",
        feeding="tf",
        features=1024,
        weights=3_228_864,
        last_block="conv_dw_13",
        file="mobilenet_1_0_224_tf_no_top.h5",
    ),
    "efficientnet_v2_b0": Backbone(
        builder="EfficientNetV2B0",
        feeding="inside",
        features=1280,
        weights=5_919_312,
        last_block="block6h",
        smallest=1,
        file="efficientnetv2-b0_notop.h5",
    ),
    "resnet50": Backbone(
        builder="ResNet50",
        feeding="caffe",
        features=2048,
        weights=23_587_712,
        last_block="conv5_block3",
        smallest=1,
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "convnext_tiny": Backbone(
        builder="ConvNeXtTiny",
        feeding="inside",
        features=768,
        weights=27_820_128,
        last_block="convnext_tiny_stage_3_block_2",
        batchnorm=False,
        file="convnext_tiny_notop.h5",
    ),
}
"""Backbones by name, from small to large."""


def embeds(backbone: str, trainable: str, statistics: str) -> bool:
    """Return whether a backbone gives the same features for an image in each epoch, so that it need run only once.

    Args:
        backbone: a key of `BACKBONES`, or `NO_BACKBONE`.
        trainable: which part of the backbone is trained, one of `TRAINABLE`.
        statistics: which batch normalization statistics it uses, one of `STATISTICS`.
    """
    is_frozen = backbone != NO_BACKBONE and trainable == "frozen"
    return is_frozen and (statistics == "kept" or not BACKBONES[backbone].batchnorm)
