"""`schedule` as people type it: what is printed, written and taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

import run_search
from commands.terminal import DONE, USER_ERROR
from tests.factories import make_images

pytestmark = pytest.mark.usefixtures("known_migrations")

NIGHTS = ("schedule", "--data", "images", "--window", "22:00-07:00", "--trials", "5")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("PATH", "/nowhere")  # no systemctl, no crontab: nobody's own is touched
    monkeypatch.delenv("STEADYNET_STORAGE", raising=False)
    make_images(tmp_path / "images", 12)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def say(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run_search.main(arguments)
    told = capsys.readouterr()
    return code, told.out + told.err


def test_without_more_both_texts_are_printed_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = say(capsys, *NIGHTS)
    assert code == DONE
    cron, _, unit = told.partition("# " + str(here / "configuration"))
    assert "0 22 * * * cd " in cron
    assert "@reboot cd " in cron
    assert "--data images --window 22:00-07:00 --trials 5 --quiet" in cron
    assert '"--data" "images" "--window" "22:00-07:00" "--trials" "5" "--quiet"' in unit
    assert "Restart=on-failure" in unit
    assert "RestartPreventExitStatus=3" in unit
    assert "StartLimitBurst=24" in unit.partition("[Service]")[0]
    assert not (here / "configuration").exists()


def test_a_service_is_installed_and_removed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = say(capsys, *NIGHTS, "--install", "systemd", "--units", "units")
    assert code == DONE
    (file,) = (here / "units").iterdir()
    assert file.name in told
    text = file.read_text()
    assert "--trials" in text
    assert "--install" not in text
    assert "--units" not in text
    code, told = say(capsys, "schedule", "--data", "images", "--remove", "--units", "units")
    assert code == DONE
    assert not file.exists()
    code, told = say(capsys, "schedule", "--data", "images", "--remove", "--units", "units")
    assert (code, told) == (DONE, "Nothing is installed for runs/images.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("schedule", "--data", "images"), "schedule needs the hours in which it may work"),
        ((*NIGHTS, "--storage", "postgresql://me:geheim@db/x"), "schedule does not accept --storage"),
        ((*NIGHTS, "--data", "none"), "--data: given twice"),
        (("schedule", "--data", "none", "--window", "22:00-07:00"), "there is no folder none"),
        ((*NIGHTS, "--install", "cron"), "no crontab"),
    ],
)
def test_what_can_not_be_scheduled_is_said_at_once(
    arguments: tuple[str, ...], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = say(capsys, *arguments)
    assert code == USER_ERROR
    assert message in told
    assert "geheim" not in told
    assert sorted(path.name for path in here.iterdir()) == ["images"]
