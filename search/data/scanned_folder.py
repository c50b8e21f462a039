"""An image folder that is scanned once; image statistics and copies are computed once, when first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.arrays import IntArray
from search.data import disk_cache, duplicates
from search.data.duplicates import Cluster
from search.data.groups import number_groups, read_groups
from search.data.image_stats import ImageStats, image_stats
from search.data.scan import ImageFolder, scan
from search.events import Listener

CLUSTERING: Final = 1
"""Version of the clustering in the names of cache entries: raised when other images would be taken for copies."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Images of a folder that show the same, and the groups that keep them on one side of a split.

    Attributes:
        clusters: images that show the same, as row numbers.
        too_large: those of the clusters that are too large for their class to become a group.
        groups: `(n,)` the user's groups, joined where they share a cluster; None where there are no groups at all.
    """

    clusters: Sequence[Cluster]
    too_large: Sequence[Cluster]
    groups: IntArray | None


class ScannedFolder:
    """The files of an image folder, and what is computed from all of them.

    Args:
        files: the images that a scan found.
        listener: notified of stages and progress of what is computed.
        group_table: CSV file with the user's groups, if there are any.
        group_by_file: name of the group of each file in `group_table`.
    """

    def __init__(
        self,
        files: ImageFolder,
        listener: Listener,
        group_table: Path | None = None,
        group_by_file: Mapping[str, str] | None = None,
    ) -> None:
        self.files = files
        self._listener = listener
        self._group_table, self._group_by_file = group_table, group_by_file
        self._stats: ImageStats | None = None
        self._copies: dict[bytes, Copies] = {}

    def stats(self) -> ImageStats:
        """Statistics of all files, readable or not."""
        if self._stats is None:
            self._listener.stage(f"Looking at {len(self.files.files):,} images")
            self._stats = image_stats(self.files, on_progress=self._listener.progress)
        return self._stats

    def groups(self, rows: IntArray) -> IntArray | None:
        """The user's groups of some rows: `(len(rows),)` numbers from 0; None without a table of groups.

        Raises:
            DataError: the table names no group for one of the rows.
        """
        if self._group_table is None or self._group_by_file is None:
            return None
        return number_groups(self._group_by_file, [self.files.files[row] for row in rows], self._group_table)

    def copies(self, rows: IntArray) -> Copies:
        """Copies among the images of some rows; the row numbers in the result count from the first of `rows`.

        Raises:
            DataError: as in `groups`.
        """
        key = rows.tobytes()
        if key not in self._copies:
            groups = self.groups(rows)
            clusters = self._clusters(rows)
            joined, too_large = duplicates.join_copies(clusters, self.files.labels[rows], groups)
            self._copies[key] = Copies(clusters, too_large, joined)
        return self._copies[key]

    def _clusters(self, rows: IntArray) -> list[Cluster]:
        """Clusters of the images that show the same; from the cache or computed now."""
        digests = [self.files.digests[row] for row in rows]

        def parse(stored: list[list[list[int]]]) -> list[Cluster]:
            clusters = [Cluster(tuple(first), tuple(map(tuple, same))) for first, *same in stored]
            members = [row for cluster in clusters for row in cluster.rows]
            if len(set(members)) < len(members) or not set(members) <= set(range(len(rows))):
                raise ValueError("no such images")
            return clusters

        def compute() -> list[list[list[int]]]:
            grey = self.stats().grey[rows]
            self._listener.stage("Comparing the images with each other")
            clusters = duplicates.clusters(digests, grey)
            return [[list(cluster.rows), *map(list, cluster.same)] for cluster in clusters]

        return disk_cache.cached("clusters", [CLUSTERING, digests], compute, parse)


def scan_folder(
    folder: Path,
    listener: Listener,
    *,
    classes: Sequence[str] | None = None,
    labels: Path | None = None,
    groups: Path | None = None,
    follow_links: bool = False,
) -> ScannedFolder:
    """Find and hash the images of a folder, and read the table of their groups.

    Args:
        folder: holds one sub-folder a class, or, with `labels`, images anywhere in it.
        listener: notified of stages and progress, also of what is computed later.
        classes: of the training images, where this is a test folder; it may lack some of them.
        labels: CSV file with the columns `file` and `label`, where sub-folders are no classes.
        groups: CSV file with the columns `file` and `group`.
        follow_links: also read images outside the folder that links in it point to.

    Raises:
        DataError: the folder or one of the tables can't be used.
    """
    listener.stage(f"Scanning {folder}")
    files = scan(folder, classes=classes, labels=labels, follow_links=follow_links, on_progress=listener.progress)
    by_file = read_groups(groups, folder=folder, files=(*files.files, *files.unopened)) if groups else None
    return ScannedFolder(files, listener, groups, by_file)
