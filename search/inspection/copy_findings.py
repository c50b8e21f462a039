"""Findings on pictures that are there more than once: in a class, in two classes, in training and test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from search.arrays import IntArray
from search.data.scanned_folder import Copies
from search.inspection.findings import Finding, Severity


def copy_findings(
    copies: Copies,
    files: Sequence[str],
    labels: IntArray,
    classes: Sequence[str],
    blank: Collection[int] = (),
) -> Iterator[Finding]:
    """Yield findings on images that show the same.

    Args:
        copies: among the rows.
        files: `(n,)` names.
        labels: `(n,)` 0..K-1.
        classes: K names.
        blank: rows of pictures that show nothing: in two classes they are blank, not labelled wrongly.
    """
    clusters, too_large = copies.clusters, copies.too_large
    clear = [cluster for cluster in clusters if len(set(labels[list(cluster.rows)])) == 1 or cluster.rows[0] in blank]
    grouped = [cluster for cluster in clear if cluster not in too_large]
    exact = [rows for cluster in grouped for rows in cluster.same]
    near = [cluster.rows for cluster in grouped if not cluster.exact]
    for kind, rows_of_sets, what in (("duplicate", exact, "the same"), ("near-duplicate", near, "nearly the same")):
        sets = _sets(rows_of_sets, files)
        if sets:
            count = sum(map(len, sets)) - len(sets)
            noun = "picture is" if len(sets) == 1 else "pictures are"
            yield Finding(
                kind=kind,
                severity=Severity.WARNING,
                detail=f"{len(sets):,} {noun} there more than once, in {what} form ({count:,} more files than "
                "pictures). A search keeps them on one side of each split if it can; for a network they count double.",
                files=_flat(sets),
                sets=sets,
            )
    conflicts = [cluster for cluster in clusters if cluster not in clear]
    if conflicts:
        sets = _sets([cluster.rows for cluster in conflicts], files)
        pairs = sorted({" and ".join(sorted({classes[labels[row]] for row in cluster.rows})) for cluster in conflicts})
        sure = "one of the labels is wrong" if all(cluster.exact for cluster in conflicts) else "a label may be wrong"
        named = f"{', '.join(pairs[:3])}{' ...' if len(pairs) > 3 else ''}"
        yield Finding(
            kind="label-conflict",
            severity=Severity.ERROR,
            detail=f"{len(sets):,} {'picture lies' if len(sets) == 1 else 'pictures lie'} in more than one class "
            f"({named}): {sure}. Check them and keep each in one class.",
            files=_flat(sets),
            sets=sets,
        )
    if too_large:
        sets = _sets([cluster.rows for cluster in too_large], files)
        yield Finding(
            kind="near-duplicate",
            severity=Severity.WARNING,
            detail=f"{len(sets):,} {'picture is' if len(sets) == 1 else 'pictures are'} there so often that the copies "
            "are more than a twentieth of a class; they are not kept together. Is it a blank slide, or a still camera?",
            files=_flat(sets),
            sets=sets,
        )


def leak_findings(
    pairs: Sequence[tuple[int, int]], files: Sequence[str], test_files: Sequence[str]
) -> Iterator[Finding]:
    """Yield a finding if test images show the same as training images.

    Args:
        pairs: (row among the training images, row among the test images) that show the same.
        files: names of the training images.
        test_files: names of the test images, with the name of their folder in front.
    """
    if not pairs:
        return
    training_files: dict[int, list[str]] = {}
    for row, test_row in sorted(pairs):
        training_files.setdefault(test_row, []).append(files[row])
    sets = tuple((test_files[test_row], *names) for test_row, names in training_files.items())
    yield Finding(
        kind="leak",
        severity=Severity.ERROR,
        detail=f"{len(sets):,} test {'image is' if len(sets) == 1 else 'images are'} among the training images too: "
        "the test score would be too high. Remove them from one of the folders.",
        files=tuple(dict.fromkeys(file for files in sets for file in files)),
        sets=sets,
    )


def _sets(rows_of_sets: Sequence[tuple[int, ...]], files: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(files[row] for row in rows) for rows in rows_of_sets)


def _flat(sets: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(np.unique([file for names in sets for file in names]).tolist())
