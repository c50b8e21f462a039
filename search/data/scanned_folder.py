"""An image folder that is scanned once; image statistics and duplicates are computed once, on first use."""

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
"""Version of the clustering in the names of cache entries: raised when other images would count as duplicates."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Duplicates and near duplicates among n images, and the groups that no split may separate.

    Attributes:
        clusters: clusters of duplicates, as row numbers 0..n-1.
        too_large: the clusters that hold too many images of a class to become a group.
        groups: `(n,)` int64 group of each image: user groups and clusters, merged where they overlap; None if there are
            neither.
    """

    clusters: Sequence[Cluster]
    too_large: Sequence[Cluster]
    groups: IntArray | None


class ScannedFolder:
    """The files of an image folder, with statistics, groups and duplicates that are computed on first use.

    Args:
        files: the scanned folder.
        listener: notified of stages and progress.
        group_table: CSV file with the user's groups; None without groups.
        group_by_file: file -> name of its group, as read from `group_table`; None without groups.
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
        """Return the statistics of all files, readable or not, in row order.

        Raises:
            DataError: the cache folder can't be written.
        """
        if self._stats is None:
            self._listener.stage(f"Looking at {len(self.files.files):,} images")
            self._stats = image_stats(self.files, on_progress=self._listener.progress)
        return self._stats

    def groups(self, rows: IntArray) -> IntArray | None:
        """Return the user's groups of some rows.

        Args:
            rows: `(n,)` row numbers.

        Returns:
            `(n,)` int64 group of each row, numbered from 0; None if the user gave no groups.

        Raises:
            DataError: the CSV has no group for one of the rows.
        """
        if self._group_table is None or self._group_by_file is None:
            return None
        return number_groups(self._group_by_file, [self.files.files[row] for row in rows], self._group_table)

    def copies(self, rows: IntArray) -> Copies:
        """Return the duplicates among some rows.

        Args:
            rows: `(n,)` row numbers.

        Returns:
            The duplicates; row numbers in it are positions in `rows`, 0..n-1.

        Raises:
            DataError: the CSV has no group for one of the rows, or the cache folder can't be written.
        """
        key = rows.tobytes()
        if key not in self._copies:
            groups = self.groups(rows)
            clusters = self._clusters(rows)
            joined, too_large = duplicates.join_copies(clusters, self.files.labels[rows], groups)
            self._copies[key] = Copies(clusters, too_large, joined)
        return self._copies[key]

    def _clusters(self, rows: IntArray) -> list[Cluster]:
        """The clusters of duplicates, from the cache or computed now."""
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
    """Find and hash the images of a folder, and read the CSV with their groups.

    Args:
        folder: image folder with one sub-folder per class, or, with `labels`, with images anywhere in it.
        listener: notified of stages and progress, also of later computations by the result.
        classes: names of the training classes if `folder` is a test folder, which may lack some of them; None: the
            classes are those that the folder or `labels` has.
        labels: CSV file with the columns `file` and `label`; None: sub-folders are the classes.
        groups: CSV file with the columns `file` and `group`; None without groups.
        follow_links: also read images outside the folder that links in it point to.

    Raises:
        DataError: the folder or one of the CSV files can't be used.
    """
    listener.stage(f"Scanning {folder}")
    files = scan(folder, classes=classes, labels=labels, follow_links=follow_links, on_progress=listener.progress)
    by_file = read_groups(groups, folder=folder, files=(*files.files, *files.unopened)) if groups else None
    return ScannedFolder(files, listener, groups, by_file)
