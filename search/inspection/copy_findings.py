"""Findings on duplicate images: within a class, in two classes, or in both training and test set."""

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
    """Yield findings on duplicates and near duplicates among n images.

    Args:
        copies: the duplicates, with row numbers 0..n-1.
        files: n file names.
        labels: `(n,)` class of each image, 0..K-1.
        classes: K names.
        blank: row numbers of blank images; these are not reported as label conflicts if they are in two classes.
    """
    clusters, too_large = copies.clusters, copies.too_large
    clear = [cluster for cluster in clusters if len(set(labels[list(cluster.rows)])) == 1 or cluster.rows[0] in blank]
    grouped = [cluster for cluster in clear if cluster not in too_large]
    exact = [rows for cluster in grouped for rows in cluster.same]
    near = [cluster.rows for cluster in grouped if not cluster.exact]
    for kind, rows_of_sets, what in (("duplicate", exact, "identical"), ("near-duplicate", near, "nearly identical")):
        sets = _sets(rows_of_sets, files)
        if sets:
            count = sum(map(len, sets)) - len(sets)
            noun = "picture is" if len(sets) == 1 else "pictures are"
            yield Finding(
                kind=kind,
                severity=Severity.WARNING,
                detail=f"{len(sets):,} {noun} in several {what} files ({count:,} redundant files). A search keeps "
                "these files together in each split if it can, but a training counts them several times.",
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
            detail=f"{len(sets):,} {'picture is' if len(sets) == 1 else 'pictures are'} in more than one class "
            f"({named}): {sure}. Check them, and keep each in one class only.",
            files=_flat(sets),
            sets=sets,
        )
    if too_large:
        sets = _sets([cluster.rows for cluster in too_large], files)
        yield Finding(
            kind="near-duplicate",
            severity=Severity.WARNING,
            detail=f"{len(sets):,} {'picture makes' if len(sets) == 1 else 'pictures make'} up more than a twentieth "
            "of a class, in nearly identical files; these are not kept together in a split. Check for blank slides or "
            "a still camera.",
            files=_flat(sets),
            sets=sets,
        )


def leak_findings(
    pairs: Sequence[tuple[int, int]], files: Sequence[str], test_files: Sequence[str]
) -> Iterator[Finding]:
    """Yield one finding if test images are duplicates of training images, and nothing otherwise.

    Args:
        pairs: (row in `files`, row in `test_files`) of each pair of duplicates.
        files: file names of the training images.
        test_files: file names of the test images, each preceded by the name of the test folder.
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
        detail=f"{len(sets):,} test {'image is' if len(sets) == 1 else 'images are'} also in the training set: "
        "the test score would be too high. Remove them from one of the folders.",
        files=tuple(dict.fromkeys(file for files in sets for file in files)),
        sets=sets,
    )


def _sets(rows_of_sets: Sequence[tuple[int, ...]], files: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(files[row] for row in rows) for rows in rows_of_sets)


def _flat(sets: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(np.unique([file for names in sets for file in names]).tolist())
