"""What `train` and `predict` say at their end, on the terminal."""

from __future__ import annotations

from reports.wording import counted, metric_name, number, percent, shown
from search.delivery.summaries import Predicted, Trained

_FILES_SHOWN = 5


def trained_lines(trained: Trained) -> list[str]:
    """What was written, and what the user should know; plain text."""
    made = f"{counted(trained.members, 'training')} averaged" if trained.members > 1 else "one training"
    lines = [f"Model: {trained.model}  ({made} on {counted(trained.images, 'image')}, {trained.weights:,} weights)"]
    if trained.held_out is not None:
        lines.append(
            f"Held out: {metric_name(trained.metric)} {number(trained.held_out)}, each image judged by the one "
            "training that did not see it. By scores like this it was chosen, so this is optimistic: what to expect is "
            "the promise in best_config.yaml."
        )
    lines.append(f"Card: {trained.card}  (class names, how a file becomes an image, how it was trained)")
    return [shown(line) for line in (*lines, *(f"Note: {note}" for note in trained.notes))]


def predicted_lines(predicted: Predicted) -> list[str]:
    """What was written, how often each class was given, what was left out; plain text."""
    lines = [f"Table: {predicted.csv}  ({counted(predicted.images, 'image')})"]
    lines.append("Given: " + ", ".join(f"{name} {count:,}" for name, count in predicted.classes.items()))
    if predicted.unlike:
        share = percent(predicted.unlike / predicted.images)
        lines.append(
            f"Unlike the training images: {predicted.unlike:,} ({share}); about 1 % is usual for images of the same "
            "kind. The model's answers on such images mean little."
        )
    if predicted.right is not None:
        right, of = predicted.right
        lines.append(f"In the folder of their class: {right:,} of {of:,} ({percent(right / of)})")
    if predicted.unreadable:
        files = [f"{file} ({why})" for file, why in list(predicted.unreadable.items())[:_FILES_SHOWN]]
        more = len(predicted.unreadable) - len(files)
        lines.append(
            f"Left out: {counted(len(predicted.unreadable), 'file')} that can't be read: {', '.join(files)}"
            + (f" and {more:,} more" if more else "")
        )
    return [shown(line) for line in (*lines, *(f"Note: {note}" for note in predicted.notes))]
