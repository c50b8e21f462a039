"""Pictures that are there more than once: in a class, in two classes, in training and test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from search.arrays import IntArray
from search.data.duplicates import Cluster
from search.inspection.findings import Finding, Severity


def within(
    found: Sequence[Cluster],
    large: Sequence[Cluster],
    files: Sequence[str],
    labels: IntArray,
    classes: Sequence[str],
    blank: Collection[int] = (),
) -> Iterator[Finding]:
    """Copies among the images.

    Args:
        found: clusters of rows.
        large: those of them that are too large to be kept together.
        files: by row.
        labels: `(n,)`.
        classes: names.
        blank: rows of pictures that show nothing: in two classes they are blank, not labelled wrongly.
    """
    clear = [cluster for cluster in found if len(set(labels[list(cluster.rows)])) == 1 or cluster.rows[0] in blank]
    kept = [cluster for cluster in clear if cluster not in large]
    exact = [rows for cluster in kept for rows in cluster.same]
    near = [cluster.rows for cluster in kept if not cluster.exact]
    for kind, some, what in (("duplicate", exact, "the same"), ("near-duplicate", near, "nearly the same")):
        sets = _sets(some, files)
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
    torn = [cluster for cluster in found if cluster not in clear]
    if torn:
        sets = _sets([cluster.rows for cluster in torn], files)
        pairs = sorted({" and ".join(sorted({classes[labels[row]] for row in cluster.rows})) for cluster in torn})
        sure = "one of the labels is wrong" if all(cluster.exact for cluster in torn) else "a label may be wrong"
        named = f"{', '.join(pairs[:3])}{' ...' if len(pairs) > 3 else ''}"
        yield Finding(
            kind="label-conflict",
            severity=Severity.ERROR,
            detail=f"{len(sets):,} {'picture lies' if len(sets) == 1 else 'pictures lie'} in more than one class "
            f"({named}): {sure}. Look, and keep each in one class.",
            files=_flat(sets),
            sets=sets,
        )
    if large:
        sets = _sets([cluster.rows for cluster in large], files)
        yield Finding(
            kind="near-duplicate",
            severity=Severity.WARNING,
            detail=f"{len(sets):,} {'picture is' if len(sets) == 1 else 'pictures are'} there so often that the copies "
            "are more than a twentieth of a class; they are not kept together. Is it a blank slide, or a still camera?",
            files=_flat(sets),
            sets=sets,
        )


def leaks(pairs: Sequence[tuple[int, int]], files: Sequence[str], test_files: Sequence[str]) -> Iterator[Finding]:
    """Test images that show what a training image shows.

    Args:
        pairs: rows of the training images, rows of the test images.
        files: of the training images.
        test_files: with the name of their folder in front.
    """
    if not pairs:
        return
    sets: dict[int, list[str]] = {}
    for own, other in sorted(pairs):
        sets.setdefault(other, []).append(files[own])
    joined = tuple((test_files[other], *own) for other, own in sets.items())
    yield Finding(
        kind="leak",
        severity=Severity.ERROR,
        detail=f"{len(sets):,} test {'image is' if len(sets) == 1 else 'images are'} among the training images too: "
        "the test would be too good. Remove them from one of the folders.",
        files=tuple(dict.fromkeys(file for one in joined for file in one)),
        sets=joined,
    )


def _sets(found: Sequence[tuple[int, ...]], files: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(files[row] for row in rows) for rows in found)


def _flat(sets: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(np.unique([file for one in sets for file in one]).tolist())
