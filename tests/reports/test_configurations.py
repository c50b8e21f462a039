from __future__ import annotations

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
