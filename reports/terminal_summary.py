"""The last lines that `search`, `train` and `predict` print on the terminal."""

from __future__ import annotations

from typing import Final

from reports.ablation import sentence
from reports.configurations import short
from reports.sections.answer import next_steps, refits, warnings
from reports.sections.pretraining import worth_sentence
from reports.wording import control_sentence, counted, metric_name, number, percent, shown
from search.delivery.summaries import Predicted, Trained
from search.selection.results import Results

_FILES_SHOWN: Final = 5  # unreadable files that are named


def closing_lines(results: Results) -> list[str]:
    """Return the outcome of a search as plain text: the recommendation and its promise, or why there is none."""
    fits = sum(results.verdicts.values())
    counts = f"{counted(len(results.study.trials), 'trial')}, {counted(fits, 'fit')}"
    best = results.recommended
    if best is None:
        reasons = ", ".join(f"{count} {reason}" for reason, count in results.collapse_reasons.items())
        lines = [f"No recommendation: {results.reason} ({counts}{'; collapsed: ' + reasons if reasons else ''})."]
        if results.control is not None:
            lines.append(control_sentence(results.control, results.study.identity.metric))
        return lines
    promise, metric = best.promise, metric_name(results.study.identity.metric)
    lines = [
        f"Recommended: {short(best.ranked.trial.configuration)}  ({counts})",
        f"Expected {metric} on new images: {number(promise.value)}, 95 % interval {number(promise.low)} to "
        f"{number(promise.high)} (chance: {number(results.chance)}; search score, too high because it is the best of "
        f"many: {number(best.ranked.pooled)})",
    ]
    if best.finalist is not None:
        lines.append(f"Trained again on fresh splits: {refits(best.finalist).sentence}")
    if results.study.test is not None:
        test = results.study.test
        lines.append(
            f"Test score of one model trained on all images: {number(test.score)} ({counted(test.n, 'test image')})"
        )
    if worth := worth_sentence(results):
        lines.append(worth)
    if explanation := sentence(results):
        lines.append(explanation)
    if promise.inconclusive:
        lines.append("The result is inconclusive.")
    lines += warnings(results)
    lines += [f"{purpose}: {command}" for purpose, command in next_steps(results)]
    return lines


def trained_lines(trained: Trained) -> list[str]:
    """Return the outcome of `train` as plain text: the files, the held-out score of an ensemble, notes."""
    fits = f"average of {counted(trained.members, 'fit')}" if trained.members > 1 else "one fit"
    lines = [f"Model: {trained.model}  ({fits} on {counted(trained.images, 'image')}, {trained.weights:,} weights)"]
    if trained.held_out is not None:
        lines.append(
            f"Held-out {metric_name(trained.metric)}: {number(trained.held_out)}, each image scored by the one fit "
            "that was not trained on it. The configuration was chosen by such scores, so this one is too high; the "
            "score to expect is the promise in best_config.yaml."
        )
    lines.append(f"Model card: {trained.card}  (class names, how to load an image, how the model was trained)")
    return [shown(line) for line in (*lines, *(f"Note: {note}" for note in trained.notes))]


def predicted_lines(predicted: Predicted) -> list[str]:
    """Return the outcome of `predict` as plain text: the table, images per class, unlike images, skipped files."""
    lines = [f"Table: {predicted.csv}  ({counted(predicted.images, 'image')})"]
    lines.append("Predicted: " + ", ".join(f"{name} {count:,}" for name, count in predicted.classes.items()))
    if predicted.unlike:
        share = percent(predicted.unlike / predicted.images)
        lines.append(
            f"Unlike the training images: {predicted.unlike:,} ({share}). About 1 % is normal for images of the same "
            "kind. The predictions for such images are unreliable."
        )
    if predicted.right is not None:
        right, total = predicted.right
        lines.append(f"In the folder of the predicted class: {right:,} of {total:,} ({percent(right / total)})")
    if predicted.unreadable:
        files = [f"{file} ({why})" for file, why in list(predicted.unreadable.items())[:_FILES_SHOWN]]
        more = len(predicted.unreadable) - len(files)
        lines.append(
            f"Skipped: {counted(len(predicted.unreadable), 'file')} that can't be read: {', '.join(files)}"
            + (f" and {more:,} more" if more else "")
        )
    return [shown(line) for line in (*lines, *(f"Note: {note}" for note in predicted.notes))]
