"""The command line: what is refused, in which words, and that nothing is written or lost by it."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
import yaml

import run_search
from commands import explain as explain_command
from commands import search
from commands.terminal import stop_on_signals
from search.data.format_choice import FormatChoice
from search.data.images import load_images
from search.data.layout import Layout, layout
from search.data.scanned_folder import scan_folder
from search.events import SilentListener
from search.settings import Identity
from search.storage.database import open_storage
from search.storage.ledger import Ledger
from search.storage.run_folder import lock_folder
from spaces.config import Configuration
from spaces.presets import COLLAPSING, DEFAULT, KNOWN_GOOD
from spaces.yaml_io import load_configurations
from tests.factories import configuration, make_images

ROOT = Path(run_search.__file__).parent
HEAVY = ("tensorflow", "keras", "sklearn", "pandas", "optuna", "plotly", "sqlalchemy", "numpy", "PIL", "rich")

Refused = Callable[..., str]

pytestmark = [pytest.mark.usefixtures("known_migrations"), pytest.mark.slow]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In a folder of its own, with twelve images of each of two classes in `images`."""
    monkeypatch.setenv("STEADYNET_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    make_images(work / "images", 12)
    monkeypatch.chdir(work)
    return work


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file with its bytes; SQLite's own side files and the log, which tells of refused starts too, left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if not path.name.endswith(("-wal", "-shm", "run.log"))
    }


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that must be refused; returns its one line."""

    def run(*arguments: str) -> str:
        before = contents(here)
        assert run_search.main(arguments) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "Traceback" not in told.err
        *_, line = told.err.splitlines()
        assert line.startswith("error: ")
        assert sum(one.startswith("error:") for one in told.err.splitlines()) == 1
        assert contents(here) == before
        return line

    return run


SEARCH = ("--data", "images", "--image-size", "8", "--quiet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no images given. Pass --data DIR"),
        (("--data", ""), "expected a path, got ''"),
        (("--data", "none"), "there is no folder none. Expected one sub-folder for each class"),
        (("--data", "images/bolt/0.png"), "images/bolt/0.png is a file. Expected a folder"),
        (("--data", "images/bolt"), "images/bolt has no sub-folders"),
        (("--data", "images", "--data", "images"), "--data: given twice (images, images); pass it once"),
        (("images",), "unrecognized arguments: images"),
        ((*SEARCH, "--folds", "13"), "12 readable image(s) in images/bolt, but 13 folds need at least 13"),
        ((*SEARCH, "--folds", "1"), "--folds: expected a whole number of at least 2, got '1'"),
        ((*SEARCH, "--trials", "-3"), "--trials: expected a whole number of at least 1, got '-3'"),
        ((*SEARCH, "--trials", "many"), "--trials: expected a whole number of at least 1, got 'many'"),
        ((*SEARCH, "--study", "x" * 201), "--study: expected a name of 1 to 200 characters, got 201"),
        ((*SEARCH, "--timeout", "8x"), "--timeout: expected a duration such as 90s, 10m, 8h or 1h30m, got '8x'"),
        ((*SEARCH, "--timeout", "0s"), "--timeout: expected a duration above zero, got '0s'"),
        ((*SEARCH, "--timeout", "8"), "--timeout: expected a duration such as"),
        ((*SEARCH, "--window", "22:00"), "--window '22:00': '22:00' is not a window. Expected hours such as 22:00"),
        ((*SEARCH, "--window", "Mon-Fri 22:00-25:00"), "25:00 is not a time of day. Expected 00:00 to 24:00"),
        ((*SEARCH, "--window", "Moon 22:00-07:00"), "'Moon' is not a day of the week. Expected Mon, Tue"),
        (
            (*SEARCH, "--deadline", "tonight"),
            "--deadline: expected a date and time such as 2026-12-01T06:00, got 'tonight'",
        ),
        (
            (*SEARCH, "--deadline", "2020-01-01T06:00"),
            "--deadline 2020-01-01T06:00 has passed, or comes before the next window",
        ),
        ((*SEARCH, "--metric", "f1"), "--metric: invalid choice: 'f1' (choose from 'balanced_accuracy', 'macro_f1'"),
        ((*SEARCH, "--space", "cor"), "unknown space 'cor' (did you mean 'core'?). Expected one of core, default"),
        ((*SEARCH, "--space", "none.yaml"), "none.yaml: no such file"),
        ((*SEARCH, "--start", "none.yaml"), "none.yaml: no such file"),
        ((*SEARCH, "--start", "images"), "images: can't be read: Is a directory"),
        ((*SEARCH, "--groups", "none.csv"), "there is no group file none.csv"),
        ((*SEARCH, "--test", "none"), "there is no folder none"),
        ((*SEARCH, "--test", "images"), "--test images and --data images share images"),
        ((*SEARCH, "--test", "images/bolt"), "share images"),
        ((*SEARCH, "--out", "images"), "--out images lies in the image folder images"),
        ((*SEARCH, "--out", "images/runs/x"), "lies in the image folder images"),
        ((*SEARCH, "--out", "images/bolt/0.png/x"), "lies in the image folder"),
        ((*SEARCH, "--out", "/proc/none/x"), "can't write to the run folder /proc/none/x"),
        ((*SEARCH, "--image-size", "4"), "expected auto, native or a whole number of at least 8, got '4'"),
        ((*SEARCH, "--image-size", "5000"), "--image-size must be between 8 and 1024 pixels, got 5000"),
        ((*SEARCH, "--storage", "studies.db"), "not a database URL"),
        ((*SEARCH, "--storage", ""), "not a database URL"),
        ((*SEARCH, "--storage", "sqlite:///x.db", "--folds", "13"), "13 folds need at least 13"),
        ((*SEARCH, "--storage", "sqlite:///none/x.db"), "can't open none/x.db (unable to open database file)"),
        ((*SEARCH, "--tri", "3"), "unrecognized arguments: --tri 3"),
        (("report",), "the following arguments are required: --out"),
        (("report", "--out", "none"), "there is no run folder none. Pass the --out folder of an earlier search"),
        (("report", "--out", "images"), "no study in images: study.db is not there"),
        (("report", "--ou", "images"), "--out"),
        (("status",), "the following arguments are required: --out"),
        (("status", "--out", "none"), "there is no run folder none. Pass the --out folder of an earlier search"),
        (("status", "--out", "images"), "no search has run in images"),
        (
            ("schedule", "--data", "images"),
            "schedule needs the hours in which it may work. Pass them, such as --window 22:00-07:00",
        ),
        (("schedule", "--window", "22:00-07:00"), "no images given. Pass --data DIR"),
        (("explain",), "the following arguments are required: --out, --from"),
        (("explain", "--out", "none", "--from", "none.yaml"), "there is no run folder none. Pass the --out folder"),
        (("explain", "--out", "images", "--from", "none.yaml"), "none.yaml: no such file"),
        (("explain", "--out", "images", "--from", str(ROOT / "examples" / "start.yaml")), "no study in images"),
    ],
)
def test_what_can_not_work_is_refused_in_one_line(arguments: tuple[str, ...], message: str, refused: Refused) -> None:
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("dropuot: {value: 0.1}", "space.yaml: unknown key 'dropuot' (did you mean 'dropout'?)"),
        ("dropout: {value: much}", "space.yaml: dropout"),
        ("dropout: {low: 0.5, high: 0.1}", "space.yaml: dropout"),
        ("dropout: !!python/object/apply:os.system ['touch pwned']", "space.yaml: could not determine a constructor"),
        ("dropout: [", "space.yaml: is not YAML"),
        ("batch_size: {value: 256}", "--space: batch_size: 256 is more than the 19 training images"),
    ],
)
def test_a_space_that_can_not_be_is_refused(yaml: str, message: str, refused: Refused) -> None:
    Path("space.yaml").write_text(yaml)
    assert message in refused(*SEARCH, "--space", "space.yaml")


def test_a_start_outside_the_space_is_refused(refused: Refused) -> None:
    Path("space.yaml").write_text("depth: {low: 1, high: 2}")
    Path("mine.yaml").write_text(yaml.safe_dump(configuration(batch_size=2).as_dict()))
    line = refused(*SEARCH, "--space", "space.yaml", "--start", "mine.yaml")
    assert "--start: depth: " in line
    assert "as in the space, got 3. Widen the space" in line


def test_one_class_an_empty_class_and_nothing_readable_are_refused(here: Path, refused: Refused) -> None:
    make_images(here / "one", 6, ("bolt",))
    assert "has only one class ('bolt')" in refused("--data", "one", "--quiet")
    make_images(here / "empty", 6)
    (here / "empty" / "screw").mkdir()
    assert "class 'screw' has no images" in refused("--data", "empty", "--quiet")
    for name in ("bolt", "nut"):
        (here / "broken" / name).mkdir(parents=True)
        (here / "broken" / name / "0.png").write_text("no image")
    assert "none of the images in broken can be read" in refused("--data", "broken", "--quiet")


def test_an_out_below_a_file_is_refused(here: Path, refused: Refused) -> None:
    (here / "file").touch()
    assert "can't write to the run folder file/x (Not a directory)" in refused(*SEARCH, "--out", "file/x")


def test_a_truncated_study_is_refused_and_left_as_it_was(here: Path, refused: Refused) -> None:
    (here / "run").mkdir()
    (here / "run" / ".lock").touch()
    open_storage(here / "run").engine.dispose()
    whole = (here / "run" / "study.db").read_bytes()
    (here / "run" / "study.db").write_bytes(whole[: len(whole) // 2])
    for arguments in (("report", "--out", "run"), (*SEARCH, "--out", "run")):
        assert "run/study.db can't be read as a study" in refused(*arguments)


def test_a_second_run_in_the_same_folder_is_refused(here: Path, refused: Refused) -> None:
    (here / "run").mkdir()
    (here / "run" / ".lock").touch()
    with lock_folder(here / "run"):
        assert "another run is working in run. Wait for it, stop it with Ctrl-C" in refused(*SEARCH, "--out", "run")


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"fingerprint": "other"}, (), "other images (or classes) (there: other, now: "),
        ({"space": "other"}, (), "another --space (there: other, now: "),
        ({}, ("--seed", "7"), "another --seed (there: 0, now: 7)"),
        (
            {},
            ("--epochs", "40", "--folds", "3"),
            "another number of --folds (there: 5, now: 3); another number of --ep",
        ),
    ],
)
def test_the_folder_of_another_study_is_refused(
    changes: dict[str, str], arguments: tuple[str, ...], message: str, here: Path, refused: Refused
) -> None:
    images = load_images(
        scan_folder(Path("images"), SilentListener()),
        FormatChoice(image_size=8, size_cap=64),
        SilentListener(),
        folds=5,
    )
    identity = Identity(
        fingerprint=images.summary.fingerprint,
        groups=None,
        image_size=8,
        folds=5,
        epochs=None,
        seed=0,
        metric="balanced_accuracy",
        space=DEFAULT.hash,
    )
    (here / "run").mkdir()
    (here / "run" / ".lock").touch()
    storage = open_storage(here / "run")
    study = optuna.create_study(storage=storage, study_name="steadynet", direction="maximize")
    study.add_trial(optuna.create_trial(value=0.5))
    Ledger(storage.engine, "steadynet").set_fact("identity", asdict(replace(identity, **changes)))
    storage.engine.dispose()
    line = refused(*SEARCH, "--out", "run", *arguments)
    assert message in line
    assert "Pass another --out" in line


def test_a_password_is_not_told(here: Path, refused: Refused) -> None:
    for url in ("nonsense://me:geheim@host/x", "nonsense://me:{geheim}@host/x?y={z", "geheim"):
        assert "geheim" not in refused(*SEARCH, "--storage", url)


@pytest.mark.parametrize("form", [("--storage", "{}"), ("--storage={}",)])
@pytest.mark.parametrize("url", ["postgresql://me:geheim@host/x", "postgresql://me@host/x?password=geheim&a=b c"])
def test_the_command_in_the_report_has_no_password(form: tuple[str, ...], url: str) -> None:
    given = ["--data", "my images", *(part.format(url) for part in form), "--on-finish", "mail geheim"]
    made = search._request(search.parser().parse_args(given), given)
    assert "geheim" not in made.command + str(made.settings)
    assert made.command.startswith("python run_search.py --data 'my images' ")
    assert "postgresql://***" in made.command
    given = ["--data", "images", "--storage", "sqlite:///x.db"]
    assert search._request(search.parser().parse_args(given), given).command.endswith("sqlite:///x.db")


def test_settings_are_kept_with_their_types() -> None:
    given = ["--data", "images", "--trials", "5", "--timeout", "30m", "--follow-links", "--window", "22:00-07:00"]
    settings = search._request(search.parser().parse_args(given), given).settings
    typed = {"data": "images", "trials": 5, "timeout": 1800.0, "follow_links": True, "window": ["22:00-07:00"]}
    assert typed.items() <= settings.items()
    assert settings["split_copies"] is False
    assert "groups" not in settings
    assert json.loads(json.dumps(settings)) == settings


def test_the_environment_names_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEADYNET_STORAGE", "postgresql://me:geheim@host/x")
    given = ["--data", "images"]
    made = search._request(search.parser().parse_args(given), given)
    assert made.storage == "postgresql://me:geheim@host/x"
    assert "geheim" not in made.command + str(made.settings) + search.parser().format_help()


@pytest.mark.parametrize(
    ("more", "starts"), [([], [COLLAPSING]), (["--space", "core"], []), (["--space", "transfer"], [])]
)
def test_the_demo_writes_its_images_and_begins_with_a_network_that_collapses(
    here: Path, more: list[str], starts: list[Configuration]
) -> None:
    given = ["--demo", *more]
    made = search._request(search.parser().parse_args(given), given)
    assert layout(made.data) == Layout(("train",), "test")
    assert made.starts == starts


def test_a_start_of_the_user_replaces_that_of_the_demo(here: Path) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump(asdict(KNOWN_GOOD[0])))
    given = ["--demo", "--start", "mine.yaml"]
    assert search._request(search.parser().parse_args(given), given).starts == [KNOWN_GOOD[0]]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("8h", 28800), ("1d", 86400), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_times(text: str, seconds: float) -> None:
    assert search.parser().parse_args(["--timeout", text]).timeout == seconds


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        ([], (200, 28800.0, True)),
        (["--trials", "7"], (7, None, False)),
        (["--timeout", "1m"], (None, 60.0, False)),
        (["--trials", "7", "--timeout", "1m"], (7, 60.0, False)),
        (["--demo", "--trials", "7"], (7, None, False)),
    ],
)
def test_a_limit_that_is_given_replaces_the_defaults(
    arguments: list[str], budget: tuple[int | None, float | None, bool]
) -> None:
    made = search._budget(search.parser().parse_args(arguments))
    assert (made.trials, made.seconds, made.until_no_progress) == budget


ASK_EACH = f"""
import sys, run_search
asked = "--help|report --help|explain --help|status|schedule --help|--folds 1"
for arguments in map(str.split, asked.split("|")):
    try:
        assert run_search.main(arguments) == 2, arguments
    except SystemExit as end:
        assert end.code == 0, arguments
    print("loaded", *arguments, {set(HEAVY)!r} & sys.modules.keys())
"""


def test_help_and_a_wrong_argument_load_nothing_heavy() -> None:
    told = subprocess.run([sys.executable, "-c", ASK_EACH], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = [line for line in told.stdout.splitlines() if line.startswith("loaded")]
    asked = ("--help", "report --help", "explain --help", "status", "schedule --help", "--folds 1")
    assert loaded == [f"loaded {each} set()" for each in asked]


def test_each_file_of_a_command_is_one_that_can_be_called() -> None:
    files = {path.stem for path in (ROOT / "commands").glob("*.py")}
    commands = {name for name in files if hasattr(importlib.import_module(f"commands.{name}"), "run")}
    assert commands == {*run_search._NAMED, "search"}


@pytest.mark.parametrize("command", ["report", "explain", "status"])
def test_help_gives_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], [command, "--help"]):
        with pytest.raises(SystemExit, match="0"):
            run_search.main(arguments)
        assert f"run_search.py {command} --out runs/images" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_for_the_end_and_a_second_ctrl_c_ends_at_once(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    asked = threading.Event()
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
        stop_on_signals(asked)
        assert not asked.is_set()
        signal.raise_signal(number)
        assert asked.is_set()
        signal.raise_signal(signal.SIGTERM)  # a service manager may repeat itself
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert "all results are kept" in capsys.readouterr().err


@pytest.mark.parametrize("healthy", [True, False])
def test_explain_writes_the_reports_and_tells_how_it_went(
    healthy: bool, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.session import explain as explain_module
    from tests.reports import fake_results as fake

    asked = []

    def explain(out: Path, start: object, *further: object, **options: object) -> object:
        asked.append((out, start, options["data"]))
        return fake.results(fake.trials(12), healthy=healthy, reason=None if healthy else "no healthy configuration")

    monkeypatch.setattr(explain_module, "explain", explain)
    monkeypatch.setattr(explain_command, "stop_on_signals", lambda asked: None)
    (here / "run").mkdir()
    mine = str(ROOT / "examples" / "start.yaml")
    code = run_search.main(["explain", "--out", "run", "--from", mine, "--data", "images", "--quiet"])
    told = capsys.readouterr().out
    assert code == (0 if healthy else 3)
    assert "holds 2 configurations; only the first one is explained." in told
    assert ("no recommended configuration, so there is nothing to explain" in told) is not healthy
    assert (here / "run" / "report.html").exists()
    ((out, start, data),) = asked
    assert (out, data) == (Path("run"), Path("images"))
    assert start == load_configurations(mine)[0]
