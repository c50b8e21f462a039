"""`--weights`: which pretrained networks a search gets with each source and each space."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import search
from search.data import weight_files
from search.data.weight_download import DownloadError
from search.errors import UserError
from search.request import SearchRequest
from spaces.presets import CORE, DEFAULT, TRANSFER, with_weights
from tests.factories import make_images

LITE0 = "efficientnet_lite0"
OWN = "preset: default\ndropout: {value: 0.2}\n"
OWN_BACKBONE = "preset: transfer\nbackbone: {choices: [none, efficientnet_lite0, resnet50]}\n"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Keras' downloads on which nothing can be fetched, and one installed network at most."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    make_images(tmp_path / "images", 2)
    Path("own.yaml").write_text(OWN)
    Path("backbone.yaml").write_text(OWN_BACKBONE)

    def fetch(*arguments: object, **options: object) -> None:
        raise DownloadError("there is no network")

    monkeypatch.setattr(weight_files, "download", fetch)


def install(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Only these networks are installed."""
    found = {name: weight_files.Weights(Path(f"{name}.pth"), f"digest of {name}") for name in names}
    monkeypatch.setattr(
        weight_files,
        "_installed",
        lambda backbones, *more, **options: {name: found[name] for name in backbones if name in found},
    )


def requested(*arguments: str) -> SearchRequest:
    given = ["--data", "images", *arguments]
    return search._request(search.parser().parse_args(given), given)


@pytest.mark.parametrize("space", ["default", "core", "own.yaml"])
@pytest.mark.parametrize("source", [[], ["--weights", "auto"], ["--weights", "none"]])
def test_without_installed_networks_all_are_from_scratch(
    space: str, source: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    request = requested("--space", space, *source)
    assert request.weights == {}
    assert not request.space.backbones
    assert (request.auto_weights is None) == (source[-1:] == ["none"])
    assert request.space.hash == {"default": DEFAULT.hash, "core": CORE.hash}.get(space, request.space.hash)


def test_what_is_installed_joins_the_default_space_only(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LITE0)
    both = requested()
    assert (both.space, list(both.weights), both.auto_weights) == (with_weights(DEFAULT, [LITE0]), [LITE0], DEFAULT)
    assert both.space.has_families
    for arguments in (("--weights", "none"), ("--space", "core"), ("--space", "own.yaml")):
        request = requested(*arguments)
        assert (dict(request.weights), request.space.backbones) == ({}, ())
    assert requested("--weights", "none").space == DEFAULT


def test_a_space_with_backbones_gets_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, LITE0)
    for space in ("transfer", "backbone.yaml"):
        request = requested("--space", space)
        assert request.space.backbones == (LITE0,) == tuple(request.weights)
        assert "Skipped, because their weights were not found: " in capsys.readouterr().err
    every = requested("--space", "transfer", "--weights", "random")
    assert {LITE0, "mobilenet_v2", "resnet50"} <= set(every.weights) <= set(TRANSFER.backbones)
    assert {weights.digest for weights in every.weights.values()} == {"random"}
    assert every.auto_weights is None


def test_what_is_installed_is_enough_where_nothing_can_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LITE0)
    assert list(requested("--weights", "imagenet").weights) == [LITE0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--space", "transfer"),
            r"--weights auto: the weights of .* are not on this machine. Pass --weights imagenet",
        ),
        (("--space", "backbone.yaml"), "--weights auto: the weights of efficientnet_lite0, resnet50 are not on"),
        (
            ("--space", "transfer", "--weights", "none"),
            "--weights none: .* Pass --weights random .* or --space default",
        ),
        (("--weights", "random"), "--weights random needs --space transfer"),
        (("--space", "core", "--weights", "random"), "--space core has none"),
        (("--space", "core", "--weights", "imagenet"), "--space core has none. Pass --space transfer"),
        (("--space", "own.yaml", "--weights", "imagenet"), "--space own.yaml has none"),
        (("--weights", "nowhere"), "--weights nowhere: no such file or folder. Pass auto, imagenet, random, none"),
        (("--weights", "imagenet"), "no network"),
    ],
)
def test_what_can_not_be_is_refused(arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    with pytest.raises(UserError, match=message):
        requested(*arguments)
