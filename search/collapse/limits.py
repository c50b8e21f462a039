"""Every threshold of the collapse rules, in one place.

Measured: on 441 random small ConvNets (scikit-learn's digits, 60 epochs), of which 126 ended useful, the first version
of the rules stopped 56 % of the failures and none of the useful ones, and saved 30 % of all epochs; docs/collapse.md
gives the figures of the present rules. H is the entropy of the class prior in nats, skill = 1 - cross-entropy / H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Thresholds of the collapse rules; the comments tell whether a value was measured or chosen."""

    # Hard rule: structural evidence.
    exploded_loss: float = 1000.0  # times H; chosen: no fit came back from there (AutoTrainer: 1000 nats)
    dead_share: float = 0.99  # share of a layer's units that give 0 for all images; half dead is normal (measured)
    vanished_gradient: float = 1e-7  # norm at the first layer (SageMaker Debugger's value)
    hard_skill: float = 0.05  # skill below which a dead layer really hurts; measured
    hard_checks: int = 2  # number of broken checks in a row; measured
    hard_checks_unseen: int = 3  # the same without validation images: less evidence, more patience; chosen

    # Soft rule: statistical evidence over a window.
    window_share: float = 1 / 6  # of the planned epochs; measured as 10 of 60
    window_epochs: int = 5  # at least; measured: 5 of 60 stop no useful fit either
    window_updates: int = 50  # at least: with few steps an epoch, epochs say little; as many as measured
    window_checks: int = 3  # at least: two points can't show that nothing moves; chosen
    grace_share: float = 1 / 6  # of the planned epochs before any soft collapse, for balanced classes; measured
    grace_epochs: int = 10  # at least, but never more than `grace_most`; measured
    grace_updates: int = 100  # at least, without exception: a short fit is cheaper than a wrong stop; chosen
    grace_most: float = 1 / 2  # of the planned epochs: rare classes lengthen the grace up to here; chosen
    val_skill: float = 0.01  # in the whole window below; measured
    train_skill: float = 0.03  # the same in training mode, which BatchNorm's moving statistics can't spoil; measured
    one_class: float = 0.999999  # share of the most predicted class: all images, but for rounding
    auc_distance: float = (
        0.15  # of the window's mean from 0.5: else the ranking is fine and a threshold is wrong; measured
    )
    flat_loss: float = 0.01  # of H: the training loss moved less over the window; measured
    spread_growth: float = (
        1.25  # ratio of the logits' spread over the window: above it the network is waking up; measured as 1.5, which
        # stopped a slow starter of the audit; on its tuning half 1.2 to 1.5 are the same (docs/collapse.md)
    )

    # Constant output: the logits hardly depend on the image. Neither loss nor skill need be flat, as both follow the
    # class shares that the output drifts to.
    small_spread: float = 0.01  # logits, in the whole window; measured
    constant_train_skill: float = 0.03  # as `train_skill`

    # Hopeless: not stuck, but at chance all the time and too slow to leave it. Measured (docs/collapse.md).
    hopeless_after: float = 0.4  # of the planned epochs, at least
    hopeless_window: float = 0.25  # of the planned epochs
    hopeless_val_skill: float = 0.02  # in the whole window below
    hopeless_train_skill: float = 0.05  # now, and at the end if it goes on to rise as in the window
    hopeless_score: float = 0.05  # above chance, mean over the window, balanced accuracy
    hopeless_auc: float = 0.10  # of the window's mean from 0.5

    # Both rules.
    rising_skill: float = 0.01  # skill gained over the window: a fit that gains more is not stopped; chosen
    warm: float = 0.95  # BatchNorm: share of the moving statistics that is no longer their initial value; measured
    constant_spread: float = 1e-3  # logits: below it every image gets the same output; chosen (DeepChecker: 1e-3)

    # Without validation images there is only evidence from training mode, so all limits are stricter. Chosen.
    unseen_window: float = 2.0  # times as long a window
    unseen_train_skill: float = 0.01
    unseen_flat_loss: float = 0.005

    # Protection by earlier trials.
    protected_quantile: float = 0.75  # of earlier trials' skill at the same epoch (BTTackler: best 10 %); chosen
    protected_auc: float = 0.1  # least distance of the AUC from 0.5: skill without ranking does not protect; chosen
    wrong_share: float = 0.05  # of audited soft stops: if surely more are wrong, the soft rule is switched off; chosen
    calibration_trials: int = 5  # trials before the first soft stop: with fewer there are no levels to compare; chosen


DEFAULT_LIMITS: Final = Limits()
