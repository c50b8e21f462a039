from __future__ import annotations

import pytest

from reports import configurations
from tests.reports import fake_results as fake


def test_a_configuration_in_words_names_only_what_is_active() -> None:
    mlp = fake.configuration(0, depth=2, dense_ratio=1.0, optimizer="adam", weight_decay=0.5, horizontal_flip=True)
    text = configurations.sentence(mlp)
    assert text.startswith("2 dense layers of 64 units;")
    assert "convolution" not in text
    assert "weight decay" not in text
    assert "Augmentation: horizontal flips" in text
    convnet = fake.configuration(0, depth=3, dense_ratio=0.0, head="max", horizontal_flip=False)
    assert configurations.sentence(convnet).startswith(
        "3 convolutional layers (3 x 3 kernels), 16 filters in the first"
    )
    assert "global max pooling" in configurations.sentence(convnet)
    assert configurations.short(convnet).startswith("3 conv,")
    assert "No augmentation." in configurations.sentence(convnet)


BACKBONE = {"backbone": "efficientnet_lite0", "statistics": "kept", "resolution": 224, "backbone_rate": 0.1}


def test_an_exact_classifier_is_told_without_training() -> None:
    exact = fake.configuration(1, **BACKBONE, trainable="frozen", head="average_and_middle", classifier="ridge",
        class_weighting="balanced")  # fmt: skip
    assert configurations.sentence(exact) == (
        "Ridge regression on the features of efficientnet_lite0, pretrained (frozen, original statistics) for images "
        "of 224 x 224 pixels: means of the last and of the middle feature map. It is solved exactly, without epochs; "
        "the strength of its regularization is chosen on the training images. Class weights: balanced."
    )
    words = "efficientnet_lite0 (frozen) + ridge regression, 224 pixels, with the middle features"
    assert configurations.short(exact) == words


@pytest.mark.parametrize(
    ("trainable", "dense_ratio", "start"),
    [
        (
            "frozen",
            0.0,
            "efficientnet_lite0, pretrained (frozen, original statistics) for images of 224 x 224 pixels, followed by "
            "global average pooling and the output layer; he_normal, dropout 0.3. Trained with adam, ",
        ),
        (
            "last_block",
            1.0,
            "efficientnet_lite0, pretrained (last block trained at 10 % of the learning rate, original statistics) for "
            "images of 224 x 224 pixels, followed by global average pooling and 1 dense layer of 64 units; relu, "
            "he_normal, no normalization, dropout 0.3. Trained with adam, ",
        ),
    ],
)
def test_layers_on_a_backbone_are_told_with_its_own_resolution(trainable: str, dense_ratio: float, start: str) -> None:
    one = fake.configuration(2, **BACKBONE, trainable=trainable, head="average", classifier="layers", depth=1,
        dense_ratio=dense_ratio, dropout=0.3, initializer="he_normal", activation="relu", normalization="none",
        optimizer="adam")  # fmt: skip
    assert configurations.sentence(one).startswith(start)
    assert ", 224 pixels, he_normal, adam" in configurations.short(one)
