"""`report.md`: the report as a few screens of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from reports import ablation, configurations, wording
from reports.glossary import GLOSSARY
from reports.sections import certainty, collapses, images, importance, pretraining, run
from reports.sections.answer import (
    INCONCLUSIVE,
    Mark,
    equals,
    marks,
    next_steps,
    not_confirmed,
    nothing,
    refits,
    warnings,
)
from reports.sections.collapses import audit_sentence, cause_rows, reason_rows
from reports.sections.data import backbone_sides, findings
from reports.sections.sensitivity import neighbours_sentence
from reports.wording import counted, duration, number, percent, shown, whole
from search.causes import SYMPTOMS
from search.selection.results import Recommendation, Results

ROWS: Final = 8  # of a table
NAMES: Final = 10  # files that are listed


def markdown(results: Results) -> str:
    """Return the report as Markdown, with all names and texts escaped."""
    study = results.study
    blocks = [
        f"# {escaped(wording.report_title(study.data.folder))}",
        f"{counted(study.data.images, 'image')}, {counted(len(study.data.classes), 'class', 'classes')}, "
        f"{counted(len(study.trials), 'configuration')} tried in {duration(study.seconds)} on {escaped(study.device)}.",
        _headline(results, results.recommended) if results.recommended else _nothing(results),
        _ablation(results),
        _finalists(results),
        _best(results),
        _collapses(results),
        _matters(results),
        _images(results),
        _data(results),
        _run(results),
        _glossary(),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """Return `text` escaped so that Markdown shows it as it is, on one line."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#~&!" else sign for sign in shown(text))


def _headline(results: Results, recommendation: Recommendation) -> str:
    promise = recommendation.promise
    title = INCONCLUSIVE if promise.inconclusive else "Recommended configuration"
    others = [mark for mark in marks(results) if mark.kind != "promise"]
    again, best = recommendation.finalist, recommendation.ranked.trial.configuration
    return "\n".join(
        [
            f"## {title}",
            "",
            f"**{number(promise.value)}** {wording.metric_name(results.study.identity.metric)} expected on new images, "
            f"95 % interval from {number(promise.low)} to {number(promise.high)}.",
            "",
            *(f"- {_value(mark)} {mark.name} ({escaped(mark.note)})" for mark in others),
            "",
            *_worth(results),
            *(f"{escaped(warning)}\n" for warning in warnings(results)),
            f"{refits(again).sentence} {equals(results)}".rstrip() if again else not_confirmed(results),
            "",
            f"{configurations.sentence(best)} All settings are in `best_config.yaml`.",
            "",
            *(f"{purpose}:\n\n    {command}\n" for purpose, command in next_steps(results)),
        ]
    ).rstrip()


def _worth(results: Results) -> list[str]:
    text = pretraining.worth_sentence(results)
    return [escaped(text), ""] if text else []


def _value(mark: Mark) -> str:
    if len(mark.dots) < 2:
        return number(mark.value)
    values = [value for _, value in mark.dots]
    return f"{number(min(values))} to {number(max(values))}"


def _finalists(results: Results) -> str:
    if not results.finalists:
        return f"## Confidence\n\n{certainty.sentence(results)}" if results.ranking else ""
    rows = [
        (
            str(row.trial),
            row.robust,
            row.mean,
            row.se,
            row.worst,
            row.collapsed,
            escaped(row.standing),
            row.configuration,
        )
        for row in certainty.finalist_rows(results)
    ]
    head = ("trial", "R (mean − SE)", "mean", "± SE", "worst", "collapsed (95 % bound)", "status", "configuration")
    notes = certainty.notes(results)
    parts = ["## Confidence", certainty.sentence(results), _table(head, rows), *(escaped(note) for note in notes)]
    return "\n\n".join(parts)


def _matters(results: Results) -> str:
    rows = [
        (wording.plain_name(row.name), percent(row.score), row.recommended, row.safe)
        for row in importance.rows(results)[:ROWS]
    ]
    head = ("hyperparameter", "share explained", "recommended", "safe range")
    parts = ["## What matters", importance.sentence(results), _table(head, rows) if rows else ""]
    if kinds := pretraining.kind_rows(results):
        cells = [
            (
                escaped(one.name),
                one.best,
                one.median,
                f"{one.judged} of {one.trials}",
                str(one.collapsed),
                escaped(one.detail.removeprefix("best: ")),
            )
            for one in kinds[:ROWS]
        ]
        parts += [
            escaped(pretraining.kinds_sentence(results)),
            _table(("network", "best ± SE", "median", "scored", "collapsed", "best configuration"), cells),
        ]
    if results.neighbourhood:
        parts.append(neighbours_sentence(results))
    return "\n\n".join(part for part in [*parts, escaped(results.depth_sentence)] if part)


def _images(results: Results) -> str:
    if results.on_images is None:
        return ""
    contents = images.images(results)
    parts = ["## Predictions", escaped(contents.sentence)]
    if contents.by_class:
        rows = [
            (escaped(one.name), whole(one.images), *(number(value, 2) for value in one.values))
            for one in contents.by_class
        ]
        parts.append(_table(("class", "images", *contents.columns), rows))
        parts.append(
            "All classes: " + "; ".join(f"{name} {number(value, 2)}" for name, value in contents.in_metrics) + "."
        )
    if contents.corruptions:
        parts.append(escaped(contents.corruptions_sentence))
    if contents.suspects:
        named = [f"- {escaped(one.file)}: may be {escaped(one.other)}" for one in contents.suspects[:NAMES]]
        parts.append("\n".join(["Labels that are likely wrong:", "", *named]))
    return "\n\n".join(parts)


def _nothing(results: Results) -> str:
    reason, text = results.reason or "no recommendation", nothing(results)
    if results.control is not None:
        text += f"\n\n{escaped(wording.control_sentence(results.control, results.study.identity.metric))}"
    return f"## {escaped(wording.headed(reason))}\n\n{text}"


def _ablation(results: Results) -> str:
    study = results.study
    if study.ablation is None:
        return ""
    head = "## From your configuration to the recommended one\n\n" + escaped(ablation.sentence(results))
    steps = ablation.rows(results)
    if not steps:
        return head
    table = [
        ("0", "your configuration", number(study.ablation.start.score), "", ablation.collapsed(study.ablation.start)),
        *(
            (str(place), escaped(row.change), number(row.score), ablation.signed(row.gain), row.collapsed)
            for place, row in enumerate(steps, start=1)
        ),
    ]
    notes = [study.ablation.note, ablation.noise(results), ablation.cost(study.ablation)]
    text = " ".join(escaped(note) for note in notes if note)
    return f"{head}\n\n{_table(('step', 'change', 'score', 'gain', 'collapsed folds'), table)}\n\n{text}"


def _best(results: Results) -> str:
    """Return the ranking of the search if there are no finalists."""
    if not results.ranking or results.finalists:
        return ""
    rows = [
        (
            str(place),
            number(ranked.pooled),
            number(ranked.se),
            number(ranked.worst),
            str(ranked.trial.number),
            configurations.short(ranked.trial.configuration),
        )
        for place, ranked in enumerate(results.ranking[:ROWS], start=1)
    ]
    head = ("rank", "score", "± SE", "worst fold", "trial", "configuration")
    return "## Ranking in the search (scores too high)\n\n" + _table(head, rows)


def _collapses(results: Results) -> str:
    rows = [(str(row.fits), f"`{shown(row.code)}`", escaped(row.sentence)) for row in reason_rows(results)]
    body = _table(("fits", "reason", "description"), rows) if rows else escaped(collapses.sentence(results))
    parts = [f"## Collapses\n\n{body}", _causes(results), _symptoms(results), audit_sentence(results)]
    return "\n\n".join(part for part in parts if part)


def _causes(results: Results) -> str:
    rows = [
        (str(row.first), str(row.named), f"`{shown(row.code)}`", f"trial {row.trial}: {escaped(row.evidence)}")
        for row in cause_rows(results)
    ]
    table = _table(("likeliest in", "suspected in", "likely cause", "clearest case"), rows)
    return f"Likely causes (hypotheses from the measurements):\n\n{table}" if rows else ""


def _symptoms(results: Results) -> str:
    lines = [
        f"- {count} `{shown(code)}`: {escaped(text)}"
        for code, text, count in ((code, SYMPTOMS.get(code, code), n) for code, n in results.symptoms.items())
    ]
    return "\n".join(["Not collapsed, but poor:", "", *lines]) if lines else ""


def _data(results: Results) -> str:
    data = results.study.data
    classes = ", ".join(f"{escaped(name)} {count}" for name, count in data.classes.items())
    sides = wording.listed([f"{side} x {side}" for side in backbone_sides(results)])
    own = f" Pretrained networks see {sides} pixels." if sides else ""
    lines = [
        "## Data",
        "",
        f"{classes}. {wording.seen_at(data)}: {escaped(data.size_reason)}{own}",
    ]
    if entries := findings(results):
        lines += ["", "Findings before the search:", ""]
        lines += [f"- {kind}: {escaped(detail)}" for kind, _, detail in entries]
    if data.quarantined:
        lines += ["", f"{counted(len(data.quarantined), 'file')} could not be used:", ""]
        lines += [f"- {escaped(file)}: {escaped(why)}" for file, why in list(data.quarantined.items())[:NAMES]]
        if len(data.quarantined) > NAMES:
            lines.append(f"- and {len(data.quarantined) - NAMES} more, in `report.html` and `summary.json`")
    return "\n".join(lines)


def _run(results: Results) -> str:
    study, epochs = results.study, results.epochs
    verdicts = ", ".join(f"{count} {word}" for word, count in results.verdicts.items())
    trained = (
        f" Epochs: {epochs.run:,} run of {epochs.full:,}; {epochs.saved_by_collapse:,} saved by collapse detection, "
        f"{epochs.saved_by_racing:,} by racing."
        if epochs.full or not study.trials
        else ""
    )
    return "\n".join(
        [
            "## Run",
            "",
            f"Fits: {verdicts}.{trained} Seed {study.identity.seed}, data `{shown(study.data.fingerprint)}`.",
            "",
            *(f"- {escaped(note)}" for note in run.notes(results)),
            "",
            "    " + shown(study.command),
        ]
    )


def _glossary() -> str:
    return "\n".join(["## Glossary", "", *(f"- *{term}*: {escaped(text)}" for term, text in GLOSSARY.items())])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are also aligned as plain text."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
