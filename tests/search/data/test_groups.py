from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.data.groups import groups_hash, number_groups, read_groups
from search.errors import DataError

FILES = ("a/1.png", "a/2.png", "b/3.png")


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "groups.csv").write_bytes(text.encode(encoding))
    return folder / "groups.csv"


@pytest.mark.parametrize(
    "text",
    [
        "file,group\na/1.png,x\na/2.png,x\nb/3.png,y\n",
        "file,group\ntrain/a/1.png,x\n./train/a/2.png,x\ntrain/../train/b/3.png,y\n",
        "class,group,file,age\na,x,a/1.png,7\na,x,a/2.png,8\nb,y,b/3.png,9\n",
        "\ufefffile;group\r\na/1.png;x\r\na/2.png;x\r\nb/3.png;y\r\n",
        "file\tgroup\na\\1.png\tx\na/2.png\tx\nb/3.png\ty\n",
        "file,group\na/1.png,x\na/2.png,x\nb/3.png,y\ntest/a/1.png,z\nelse/9.png,\n\n",
        'file, group\n"a/1.png", x\na/2.png , x\nb/3.png,y\nb/3.png,y\n',
    ],
    ids=["by data folder", "by own folder", "more columns", "excel", "windows paths", "other rows", "blanks"],
)
def test_reads(tmp_path: Path, text: str) -> None:
    path = table(tmp_path, text)
    groups = read_groups(path, folder=tmp_path / "train", files=FILES)
    assert groups == {"a/1.png": "x", "a/2.png": "x", "b/3.png": "y"}
    assert number_groups(groups, FILES, path).tolist() == [0, 0, 1]


def test_files_may_be_given_in_full(tmp_path: Path) -> None:
    path = table(tmp_path / "elsewhere", f"file,group\n{tmp_path}/train/a/1.png,x\n")
    assert read_groups(path, folder=tmp_path / "train", files=FILES) == {"a/1.png": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column 'file'.* found nothing"),
        ("name,group\na/1.png,x\n", "lacks the column 'file'.* found name, group"),
        ("file,patient\na/1.png,x\n", "lacks the column 'group'"),
        ("file,group\nc/1.png,x\n", r"names none of the images in .*train.*such as a/1\.png"),
        ("file,group\n", "names none of the images"),
        ("file,group\na/1.png,x\na/1.png,y\n", r"has a/1\.png in two groups, 'x' and 'y'"),
        ('file,group\n"a/1.png,x\n', "can't be read as a CSV file"),
    ],
    ids=["empty", "no file", "no group", "no match", "no rows", "two groups", "open quote"],
)
def test_unusable_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_groups(table(tmp_path, text), folder=tmp_path / "train", files=FILES)


def test_no_such_table_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no group file"):
        read_groups(tmp_path / "none.csv", folder=tmp_path, files=FILES)
    with pytest.raises(DataError, match=r"can't be read as a CSV file .*: Is a directory"):
        read_groups(tmp_path, folder=tmp_path, files=FILES)
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(DataError, match="can't be read as a CSV file"):
        read_groups(tmp_path / "picture.csv", folder=tmp_path, files=FILES)


def test_files_without_a_group_are_counted_and_three_named(tmp_path: Path) -> None:
    path = table(tmp_path, "file,group\na/1.png,x\na/2.png,\n")
    files = (*FILES, "b/4.png", "b/5.png")
    groups = read_groups(path, folder=tmp_path / "train", files=files)
    with pytest.raises(DataError, match=r"^4 of 5 images have no group .*: a/2\.png, b/3\.png, b/4\.png and 1 more\."):
        number_groups(groups, files, path)


@given(st.lists(st.integers(0, 5), max_size=12), st.permutations(range(6)))
def test_the_hash_is_of_the_grouping_not_of_its_numbers(groups: list[int], names: list[int]) -> None:
    renamed = np.array([names[group] for group in groups], dtype=np.int64)
    assert groups_hash(np.array(groups, dtype=np.int64)) == groups_hash(renamed)


def test_another_grouping_has_another_hash() -> None:
    assert groups_hash(np.array([0, 0, 1])) != groups_hash(np.array([0, 1, 1]))
    assert groups_hash(None) is None
