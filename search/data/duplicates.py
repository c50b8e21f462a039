"""Detection of duplicate images: files with the same bytes, or with nearly the same picture.

Two pictures are near duplicates if their 256-bit perceptual hashes (the signs of the lowest frequencies of a cosine
transform, Zauner 2010) are alike and their grey pictures correlate at .98 or more. A hash of 64 bits alone joins X-rays
of different patients. A cluster is complete: each of its pictures is a near duplicate of each other one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from search.arrays import IntArray
from search.data.decode import Pixels

CORRELATION: Final = 0.98
"""Smallest correlation of the grey pictures of two near duplicates."""

HASH_BITS: Final = 64
"""Largest number of bits, of 256, in which the hashes of two near duplicates may differ."""

_FREQUENCIES: Final = 16
_LEAST_DEVIATION: Final = 4.0  # levels of grey: what has less is blank, and all blanks are alike
_BLOCK: Final = 2048  # images compared at a time
_OFTEN: Final = 20  # pairs one by one cost as much as so many times as many at once
_MOST_TOGETHER: Final = 2000  # images whose distances are all worked out

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Images that are duplicates or near duplicates of each other.

    Attributes:
        rows: row numbers of the images, ascending, at least two.
        same: sets of two or more of these rows whose files have the same bytes.
    """

    rows: tuple[int, ...]
    same: tuple[tuple[int, ...], ...]

    @property
    def exact(self) -> bool:
        """Whether all files of the cluster have the same bytes."""
        return self.same == (self.rows,)


def clusters(digests: Sequence[str], grey: Pixels) -> list[Cluster]:
    """Find all clusters of duplicates and near duplicates among n images.

    Args:
        digests: n digests of the files' bytes.
        grey: `(n, 64, 64)` uint8, the images in grey.

    Returns:
        Disjoint clusters, sorted by their first rows. Blank images only count as duplicates if their bytes are equal.
    """
    first: dict[str, int] = {}
    same = np.array([first.setdefault(digest, row) for row, digest in enumerate(digests)], np.int64)
    single = np.unique(same)
    vivid = single[_vivid(grey[single])]
    joined = {row: row for row in single.tolist()}
    for group in _alike(grey[vivid]):
        for place in group:
            joined[int(vivid[place])] = int(vivid[group[0]])
    members: dict[int, list[int]] = {}
    for row, one in enumerate(same.tolist()):
        members.setdefault(joined[one], []).append(row)
    all_clusters = []
    for rows in members.values():
        if len(rows) > 1:
            alike = [tuple(row for row in rows if same[row] == one) for one in dict.fromkeys(same[rows].tolist())]
            all_clusters.append(Cluster(tuple(rows), tuple(some for some in alike if len(some) > 1)))
    return sorted(all_clusters, key=lambda cluster: cluster.rows)


def crossing(own: Pixels, other: Pixels) -> list[tuple[int, int]]:
    """Find the near duplicates between two sets of images; blank images are never near duplicates.

    Args:
        own: `(n, 64, 64)` uint8, the images of the first set in grey.
        other: `(m, 64, 64)` uint8, the images of the second set in grey.

    Returns:
        Pairs (row in `own`, row in `other`).
    """
    ours, theirs = (np.flatnonzero(_vivid(one)) for one in (own, other))
    return [
        (int(ours[i]), int(theirs[j])) for ends in _pairs(own[ours], other[theirs]) for i, j in zip(*ends, strict=True)
    ]


def hashes(grey: Pixels) -> Floats:
    """Return a perceptual hash of 256 bits per image: which of its 16 x 16 lowest frequencies are above the median.

    The frequencies are coefficients of the discrete cosine transform; the median is that of the image's own, without
    the first one, its mean brightness.

    Args:
        grey: `(n, 64, 64)` uint8, the images in grey.

    Returns:
        `(n, 256)` float32: 1 above the median, else -1.
    """
    from scipy.fft import dctn  # type: ignore[import-untyped]

    low = np.empty((len(grey), _FREQUENCIES**2), np.float32)
    for start in range(0, len(grey), _BLOCK):
        block = grey[start : start + _BLOCK].astype(np.float32)
        low[start : start + _BLOCK] = dctn(block, axes=(1, 2))[:, :_FREQUENCIES, :_FREQUENCIES].reshape(len(block), -1)
    signs: Floats = np.where(low > np.median(low[:, 1:], axis=1, keepdims=True), 1, -1).astype(np.float32)
    return signs


def _alike(grey: Pixels) -> list[list[int]]:
    """Complete clusters of near duplicates, of two images or more."""
    from scipy.cluster.hierarchy import fcluster, linkage  # type: ignore[import-untyped]
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    links = []
    for left, right in _pairs(grey, None):
        # Of each lot only what holds its pictures together: a still camera's are alike by the million.
        graph = coo_array((np.ones(len(left)), (left, right)), shape=(len(grey), len(grey)))
        parts = connected_components(graph, directed=False)[1]
        linked = np.unique([left, right])
        first = {int(part): int(one) for one, part in zip(linked[::-1], parts[linked[::-1]], strict=True)}
        links.append(np.array([linked, [first[int(part)] for part in parts[linked]]]))
    if not links:
        return []
    ends = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(ends.shape[1]), ends), shape=(len(grey), len(grey)))
    parts = connected_components(graph, directed=False)[1]
    clusters_of_rows = []
    for part in np.unique(parts[ends[0]]):
        members = _side_by_side(grey, np.flatnonzero(parts == part))
        for start in range(0, len(members), _MOST_TOGETHER):
            some = members[start : start + _MOST_TOGETHER]
            distances = 1 - _standard(grey[some]) @ _standard(grey[some]).T
            upper = np.clip(distances[np.triu_indices(len(some), 1)], 0, 2).astype(np.float64)
            if not len(upper):
                continue
            numbers = fcluster(linkage(upper, "complete"), 1 - CORRELATION, "distance")
            groups = [some[numbers == number].tolist() for number in np.unique(numbers)]
            clusters_of_rows += [group for group in groups if len(group) > 1]
    return clusters_of_rows


def _side_by_side(grey: Pixels, members: IntArray) -> IntArray:
    """Too many to be compared all with all, in an order in which those that are alike stand together: a film's."""
    if len(members) <= _MOST_TOGETHER:
        return members
    from scipy.sparse.linalg import svds  # type: ignore[import-untyped]

    shown = _standard(grey[members])
    strongest = svds(shown - shown.mean(axis=0), k=1, v0=np.ones(min(shown.shape), np.float32))[0]
    return members[np.argsort(strongest[:, 0], kind="stable")]


def _vivid(grey: Pixels) -> npt.NDArray[np.bool_]:
    """Whether each picture is not blank: `(n,)`."""
    return np.array([one.std() >= _LEAST_DEVIATION for one in grey], np.bool_)


def _pairs(own: Pixels, other: Pixels | None) -> Iterator[tuple[IntArray, IntArray]]:
    """Places of the pictures in `own` and in `other` that are the same, block by block.

    Without `other` those among `own`, each pair once.
    """
    ours = hashes(own)
    theirs, others = (ours, own) if other is None else (hashes(other), other)
    least = _FREQUENCIES**2 - 2 * HASH_BITS  # product of signs: agreeing bits less differing ones
    for start in range(0, len(own), _BLOCK):
        for begin in range(start if other is None else 0, len(others), _BLOCK):
            close = ours[start : start + _BLOCK] @ theirs[begin : begin + _BLOCK].T >= least
            if other is None and start == begin:
                close = np.triu(close, 1)
            i, j = (ends + first for ends, first in zip(np.nonzero(close), (start, begin), strict=True))
            alike = _correlate(own, others, i, j) >= CORRELATION
            if alike.any():
                yield i[alike], j[alike]


def _correlate(own: Pixels, other: Pixels, i: IntArray, j: IntArray) -> Floats:
    """Of `own[i]` and `other[j]`, one by one or, where each comes often, all with all of them."""
    rows, columns = np.unique(i), np.unique(j)
    if len(i) > _BLOCK and len(i) > len(rows) * len(columns) / _OFTEN:
        every = _standard(own[rows]) @ _standard(other[columns]).T
        return every[np.searchsorted(rows, i), np.searchsorted(columns, j)]
    parts = [
        (_standard(own[i[some]]) * _standard(other[j[some]])).sum(axis=1)
        for some in np.array_split(np.arange(len(i)), max(1, -(-len(i) // _BLOCK)))
    ]
    return np.concatenate(parts)


def _standard(grey: Pixels) -> Floats:
    """Flattened, mean 0, length 1: the product of two is their correlation."""
    flat = grey.reshape(len(grey), math.prod(grey.shape[1:])).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    standard: Floats = flat / np.maximum(length, 1e-6)
    return standard


MOST_SHARE: Final = 0.05
"""Largest share of a class (0..1) that a cluster may hold to become a group: larger ones are rather blank images."""

ALWAYS: Final = 10
"""Number of images that a cluster may always hold, however small its class is."""


def join_copies(
    clusters: Sequence[Cluster], labels: IntArray, groups: IntArray | None
) -> tuple[IntArray | None, list[Cluster]]:
    """Put duplicate images into one group, so that no split separates them.

    Args:
        clusters: clusters of duplicates, as row numbers.
        labels: `(n,)` class of each image, 0..K-1.
        groups: `(n,)` the user's group of each image, or None; groups that share a cluster are merged.

    Returns:
        The groups `(n,)` int64, numbered from 0 by first appearance (None if there are neither user groups nor joined
        clusters), and the clusters that were not joined because they hold more than `ALWAYS` images of a class and more
        than the share `MOST_SHARE` of it.
    """
    counts = np.bincount(labels)
    large = [
        cluster
        for cluster in clusters
        if any(
            count > max(ALWAYS, MOST_SHARE * counts[label])
            for label, count in enumerate(np.bincount(labels[list(cluster.rows)], minlength=len(counts)))
        )
    ]
    joined = [cluster for cluster in clusters if cluster not in large]
    if groups is None and not joined:
        return None, large
    parent = (
        np.arange(len(labels))
        if groups is None
        else np.unique(groups, return_index=True)[1][np.unique(groups, return_inverse=True)[1]]
    )

    def root(row: int) -> int:
        while parent[row] != row:
            row = int(parent[row])
        return row

    for cluster in joined:
        for row in cluster.rows[1:]:
            ends = sorted((root(cluster.rows[0]), root(row)))
            parent[ends[1]] = ends[0]
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(row), len(numbers)) for row in range(len(labels))], np.int64), large
