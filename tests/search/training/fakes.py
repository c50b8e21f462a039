"""Stand-ins for what a fit needs: a trainer that says what it is told to say, a watch that keeps a list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search.fit_checks import LAYER_SIGNALS, Check, Collapse
from search.training.epoch import EpochSums, LayerProbe
from search.training.sampling import Balance
from spaces.config import Configuration


class FakeTrainer:
    """Gives each image the logits of `answers`; its training loss is that of the same answers on what it is shown.

    Args:
        configuration: of which only sampling, weighting, batch size and rate matter.
        labels: of all images.
        answers: (epoch) -> logits (n, K) of all images; None is the constant predictor at the prior it is told.
        momentum: of batch normalization, 0 without.
    """

    def __init__(
        self,
        configuration: Configuration,
        labels: np.ndarray,
        answers: Callable[[int], np.ndarray] | None = None,
        momentum: float = 0.0,
    ) -> None:
        self.configuration, self.labels, self.answers = configuration, labels, answers
        self.batchnorm_momentum = momentum
        self.microbatch_size = configuration.batch_size
        self.calls: list[str] = []  # in order
        self.begun: dict[str, Any] = {}
        self.shown: list[np.ndarray] = []
        self.rates: list[np.ndarray] = []
        self.seeds: list[int] = []
        self.steady_loss = float("nan")
        self.infinite_at: int | None = None  # epoch
        self.step: float | None = None  # seconds

    def step_seconds(self, rows: np.ndarray) -> float | None:
        self.calls.append("step")
        return self.step

    def begin(self, seed: int, rows: np.ndarray, balance: Balance) -> None:
        self.begun = {"seed": seed, "rows": rows, "class_weights": balance.weights, "prior": balance.prior}

    def rows_of_one_shape(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def train_epoch(
        self,
        rows: np.ndarray,
        rates: np.ndarray,
        seed: int,
        probe: np.ndarray | None = None,
        *,
        gradients: bool = False,
    ) -> EpochSums:
        self.calls.append("epoch")
        self.shown.append(rows)
        self.rates.append(rates)
        self.seeds.append(seed)
        losses = self._losses(rows.ravel())
        finite = len(self.shown) != self.infinite_at
        epoch = len(self.shown)
        loss = float(losses.mean()) if finite else float("nan")
        seen = None if probe is None and not gradients else self._seen(np.zeros(0, int) if probe is None else probe)
        return EpochSums(loss, float(epoch), 2.0 * epoch, 0.1 * epoch, finite, seen)

    def probe_layers(self, probe: np.ndarray) -> LayerProbe:
        self.calls.append("look")
        self.probed = probe
        return self._seen(probe)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        self.calls.append("logits")
        return self._logits()[rows]

    def reestimate_batchnorm(self, rows: np.ndarray) -> float:
        self.calls.append("reestimate")
        np.testing.assert_array_equal(rows, self.shown[-1])
        return self.steady_loss

    def state(self) -> tuple[np.ndarray, ...]:
        """The epochs shown."""
        return (np.array(len(self.shown)),)

    def restore(self, state: Sequence[np.ndarray]) -> None:
        if len(state) != 1:
            raise ValueError("not mine")
        self.shown = [np.zeros(0, int)] * int(state[0])

    def _seen(self, probe: np.ndarray) -> LayerProbe:
        """Two layers; every signal is the number of epochs run, but for dead shares of a quarter."""
        layers = np.full((2, len(LAYER_SIGNALS)), float(len(self.shown)), np.float32)
        layers[:, LAYER_SIGNALS.index("dead_share")] = 0.25
        return LayerProbe(layers, self._logits()[probe].astype(np.float32))

    def _logits(self) -> np.ndarray:
        if self.answers is None:
            return np.tile(np.log(self.begun["prior"]), (len(self.labels), 1))
        return self.answers(len(self.shown))

    def _losses(self, rows: np.ndarray) -> np.ndarray:
        logits = self._logits()[rows].astype(np.float64)
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -log_p[np.arange(len(rows)), self.labels[rows]]


@dataclass
class FakeWatch:
    """Says what stands in `verdicts`, one a call; None when they are used up."""

    verdicts: Sequence[Collapse | None] = ()
    end: Collapse | None = None
    audited_collapse: Collapse | None = None
    heard: list[Check] = field(default_factory=list)

    def on_check(self, check: Check) -> Collapse | None:
        self.heard.append(check)
        return self.verdicts[len(self.heard) - 1] if len(self.heard) <= len(self.verdicts) else None

    def resume(self, checks: Sequence[Check], audited_collapse: Collapse | None) -> None:
        self.heard, self.audited_collapse = list(checks), audited_collapse

    def final(self, check: Check, probabilities: np.ndarray, train_auc: float) -> Collapse | None:
        self.last, self.last_probabilities, self.train_auc = check, probabilities, train_auc
        return self.end
