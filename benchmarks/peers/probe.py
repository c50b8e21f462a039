"""A linear probe in twenty lines: features of a frozen EfficientNet-Lite0, standardized, and logistic regression.

The features are the means of the last and of a middle feature map; C is chosen by log loss in a cross-validation of the
training images. Runs in our own environment, with the same file of weights as ours; the imports count.
"""

from __future__ import annotations

import common
import keras
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from search.data.weight_files import find_weights
from search.training.backbones import build_backbone

NAME = "efficientnet_lite0"


def main() -> None:
    arena = common.arena(imports_count=True)
    backbone = build_backbone(NAME, 3, find_weights("auto", [NAME])[NAME].path, with_middle=True)
    means = [keras.layers.GlobalAveragePooling2D()(features) for features in backbone.outputs]
    network = keras.Model(backbone.inputs, keras.layers.Concatenate()(means))
    probe = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 1, 6),
            cv=StratifiedKFold(5, shuffle=True, random_state=arena.seed),
            scoring="neg_log_loss",
            max_iter=1000,
            l1_ratios=(0,),
            use_legacy_attributes=False,
            n_jobs=-1,
        ),
    )
    probe.fit(network.predict(arena.train, verbose=0), arena.labels)
    spent = arena.spent
    tests = [arena.scored(probe.predict_proba(network.predict(arena.test, verbose=0)))]
    arena.write("probe", spent, None, tests, strength=float(probe[-1].C_))


if __name__ == "__main__":
    main()
