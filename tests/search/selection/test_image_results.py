import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from search.metric_definitions import METRICS
from search.selection.image_results import AGREEING, MOST, _sure_enough, on_images
from search.selection.metrics import prior
from search.selection.offset import offset_probabilities
from search.selection.scores import OutOfFold

pytestmark = pytest.mark.slow

NO_OFFSET = (0.0, 0.0, 0.0)


def repeats_of(labels: np.ndarray, quality: float, seed: int = 0, repeats: int = 3) -> list[OutOfFold]:
    """Networks that favour the true class; an image that is hard for one is hard for all."""
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    hardness = rng.normal(size=(len(labels), classes)) * 0.8
    repeated = []
    for _ in range(repeats):
        logits = quality * np.eye(classes)[labels] + hardness + rng.normal(size=hardness.shape) * 0.5
        shares = np.exp(logits)
        shares /= shares.sum(axis=1, keepdims=True)
        repeated.append(said(shares))
    return repeated


def said(probabilities: object) -> OutOfFold:
    values = np.asarray(probabilities, np.float32)
    return OutOfFold(probabilities=values, folds=np.arange(len(values)) % 3)


def flipped(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is wrong, and which ones."""
    rng = np.random.default_rng(seed)
    classes = int(labels.max()) + 1
    wrong = np.sort(rng.choice(len(labels), round(share * len(labels)), replace=False))
    given = labels.copy()
    given[wrong] = (given[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return given, wrong


def test_a_handful_that_the_eye_can_check() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2])
    first = [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0, 0.9, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]]
    second = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0, 0.7, 0.3], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.9, 0.0, 0.1]]
    shown = on_images(labels, [said(first), said(second)], NO_OFFSET)
    assert shown.confusion.tolist() == [[1, 1, 0], [0, 3, 0], [1, 0, 0]]
    assert [(one.row, one.label, one.predicted) for one in shown.mistakes] == [(5, 2, 0), (1, 0, 1)]
    assert shown.mistakes[0].probabilities == pytest.approx((0.8, 0.1, 0.1))


def test_each_class_against_the_others_and_every_metric() -> None:
    labels = np.array([0] * 6 + [1] * 3)
    said_of_one = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.2, 0.9, 0.8, 0.5])
    seen = on_images(labels, [said(np.stack([1 - said_of_one, said_of_one], axis=1))], (0.0, 0.0))
    zero, one = seen.by_class
    assert (zero.images, one.images) == (6, 3)
    assert (one.recall, one.precision) == pytest.approx((2 / 3, 2 / 3))  # the tie goes to the first class
    assert one.f1 == pytest.approx(2 / 3)
    assert one.auc == zero.auc == pytest.approx(17 / 18)
    assert one.recall_at_precision == pytest.approx(2 / 3)  # two are found before a wrong one
    assert zero.recall_at_precision == pytest.approx(5 / 6)
    assert one.average_precision == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert set(seen.in_metrics) == set(METRICS)
    assert seen.in_metrics["balanced_accuracy"] == pytest.approx((5 / 6 + 2 / 3) / 2)


def test_the_offset_decides_what_a_mistake_is() -> None:
    labels = np.array([0, 1, 1, 1])
    given = said([[0.4, 0.6], [0.3, 0.7], [0.1, 0.9], [0.1, 0.9]])
    assert on_images(labels, [given], (0.0, 0.0)).confusion.tolist() == [[0, 1], [0, 3]]
    moved = on_images(labels, [given], (1.0, -1.0))
    assert moved.confusion.tolist() == [[1, 0], [1, 2]]
    [mistake] = moved.mistakes
    assert (mistake.row, mistake.predicted) == (1, 0)
    odds = mistake.probabilities[0] / mistake.probabilities[1]
    assert odds == pytest.approx(3 / 7 * np.exp(2), rel=1e-5)


@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 6),
    images=st.integers(1, 60),
    offset=st.floats(-2, 2),
    repeats=st.integers(1, 4),
)
def test_confusion_and_mistakes_agree_with_scikit_learn(seed, classes, images, offset, repeats) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(rng.integers(0, classes, images), classes - 1)
    given = [said(rng.dirichlet(np.full(classes, 0.5), len(labels))) for _ in range(repeats)]
    added = (offset, *(0.0,) * (classes - 1))
    shown = on_images(labels, given, added)
    mean = np.mean([one.probabilities for one in given], axis=0, dtype=np.float64).astype(np.float32)
    decided = offset_probabilities(mean, added).argmax(axis=1)
    expected = confusion_matrix(labels, decided, labels=range(classes))
    assert shown.confusion.tolist() == expected.tolist()
    assert len(shown.mistakes) == min(MOST, expected.sum() - np.trace(expected))
    confidence = [max(one.probabilities) for one in shown.mistakes]
    assert confidence == sorted(confidence, reverse=True)
    assert all(labels[one.row] == one.label != one.predicted for one in shown.mistakes)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_planted_wrong_labels_are_found(classes) -> None:
    truth = np.arange(400) % classes
    labels, wrong = flipped(truth, 0.05)
    shown = on_images(labels, repeats_of(truth, 4), (0.0,) * classes)
    assert all(labels[one.row] == one.label != one.likely for one in shown.suspects)
    found = {one.row for one in shown.suspects}
    assert len(found & set(wrong)) >= 0.5 * len(wrong)
    assert len(found - set(wrong)) <= 3
    assert all(one.likely == truth[one.row] for one in shown.suspects if one.row in wrong)
    assert {one.row for one in shown.suspects[:5]} <= set(wrong)


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_few_sound_labels_are_doubted_by_good_networks(classes) -> None:
    truth = np.arange(400) % classes
    assert len(on_images(truth, repeats_of(truth, 4), (0.0,) * classes).suspects) <= 2


@pytest.mark.parametrize(("classes", "quality"), [(5, 1.0), (10, 1.5), (10, 0.5)])
def test_networks_that_know_little_doubt_few_labels(classes, quality) -> None:
    truth = np.arange(300) % classes
    shown = on_images(truth, repeats_of(truth, quality), (0.0,) * classes)
    assert np.trace(shown.confusion) < 0.7 * 300
    assert len(shown.suspects) <= 20  # without the bar: a hundred


def test_who_names_the_usual_class_only_doubts_nothing() -> None:
    """Nine in ten are of one class: agreeing with them is no sign of knowing the others."""
    labels = np.repeat([0, 1, 2], [270, 20, 10])
    rng = np.random.default_rng(0)
    answers = rng.dirichlet([30, 1, 1], len(labels))
    assert on_images(labels, [said(answers)], NO_OFFSET).suspects == ()


@given(seed=st.integers(0, 10**6), images=st.integers(1, 30))
def test_the_bar_is_that_of_a_plain_loop(seed, images) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, images)
    sure = rng.choice([0.5625, 0.625, 0.75, 0.875], images)  # with ties
    answers = np.where(rng.integers(0, 2, images)[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    enough = []
    for bar in sure:
        agreeing = [answers[row].argmax() == labels[row] for row in range(images) if sure[row] >= bar]
        named = [answers[row].argmax() for row in range(images) if sure[row] >= bar]
        by_chance = np.mean([np.mean(labels == name) for name in named])
        if np.mean(agreeing) - by_chance >= AGREEING * (1 - by_chance) - 1e-12:
            enough.append(bar)
    assert _sure_enough(labels, answers.astype(np.float32)) == min(enough, default=2.0)


def test_the_surest_answer_may_be_the_one_that_finds_a_wrong_label() -> None:
    truth = np.arange(60) % 2
    labels = truth.copy()
    labels[7] = 1 - truth[7]
    answers = np.where(truth[:, None] == [0, 1], 0.8, 0.2)
    answers[7] = np.eye(2)[truth[7]] * 0.98 + 0.01
    [suspect] = on_images(labels, [said(answers)], (0.0, 0.0)).suspects
    assert (suspect.row, suspect.label, suspect.likely) == (7, labels[7], truth[7])
    assert suspect.confidence == pytest.approx(0.99)


def test_doubts_are_ranked_by_how_far_the_likely_class_is_ahead() -> None:
    truth = np.arange(300) % 3
    labels, _ = flipped(truth, 0.08)
    repeats = repeats_of(truth, 4)
    mean = np.mean([one.probabilities for one in repeats], axis=0)
    suspects = on_images(labels, repeats, NO_OFFSET).suspects
    ahead = [mean[one.row, one.likely] - mean[one.row, one.label] for one in suspects]
    assert len(ahead) > 10
    assert ahead == sorted(ahead, reverse=True)
    assert [one.confidence for one in suspects] == pytest.approx([mean[one.row].max() for one in suspects], abs=1e-6)


def test_the_offset_doubts_no_label() -> None:
    truth = np.arange(300) % 3
    labels, _ = flipped(truth, 0.08)
    repeats = repeats_of(truth, 4)
    assert on_images(labels, repeats, (3.0, 0.0, -3.0)).suspects == on_images(labels, repeats, NO_OFFSET).suspects


def test_a_long_list_is_cut() -> None:
    truth = np.arange(3000) % 3
    labels, _ = flipped(truth, 0.1)
    shown = on_images(labels, repeats_of(truth, 5), NO_OFFSET)
    assert len(shown.suspects) == len(shown.mistakes) == MOST


def test_images_on_which_no_network_had_a_say_are_left_out() -> None:
    truth = np.arange(60) % 3
    first, second = (one.probabilities.copy() for one in repeats_of(truth, 3, repeats=2))
    first[:20] = prior(truth, 3)  # the network of that fold collapsed
    first[20:25] = np.nan
    second[:10] = prior(truth, 3)
    shown = on_images(truth, [said(first), said(second)], NO_OFFSET)
    alone = on_images(truth[10:25], [said(second[10:25])], NO_OFFSET)
    both = on_images(truth[25:], [said(first[25:]), said(second[25:])], NO_OFFSET)
    assert (shown.confusion == alone.confusion + both.confusion).all()
    assert shown.confusion.sum() == 50
    assert all(one.row >= 10 for one in shown.mistakes)


@pytest.mark.parametrize("counts", [(1, 1), (3, 100), (1, 2, 50), (4, 4, 4), (1, 30, 1, 30)])
@pytest.mark.parametrize("quality", [0, 2, 50])
def test_rare_classes_and_certain_networks_pass(counts, quality) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    shown = on_images(labels, repeats_of(labels, quality), (0.0,) * len(counts))
    assert shown.confusion.sum(axis=1).tolist() == list(counts)


@pytest.mark.parametrize(
    "answers",
    [
        np.tile([0.2, 0.5, 0.3], (30, 1)),  # the same for all
        np.tile([0.0, 1.0, 0.0], (30, 1)),
        np.eye(3)[np.arange(30) % 3],  # never in doubt, always right
        np.eye(3)[(np.arange(30) + 1) % 3],  # never in doubt, always wrong
    ],
)
def test_answers_of_broken_networks_pass(answers) -> None:
    labels = np.arange(30) % 3
    shown = on_images(labels, [said(answers)], NO_OFFSET)
    assert shown.confusion.sum() == 30
    assert shown.suspects == ()


def test_a_class_without_a_scored_image_passes() -> None:
    labels = np.arange(60) % 3
    answers = repeats_of(labels, 3, repeats=1)[0].probabilities.copy()
    answers[labels == 1] = np.nan
    shown = on_images(labels, [said(answers)], NO_OFFSET)
    assert shown.confusion.sum(axis=1).tolist() == [20, 0, 20]


def test_without_any_answer_there_is_nothing_to_show() -> None:
    shown = on_images(np.arange(6) % 2, [], (0.0, 0.0))
    assert shown.confusion.tolist() == [[0, 0], [0, 0]]
    assert (shown.mistakes, shown.suspects) == ((), ())
