"""What is written for cron and systemd, read back by them where this machine has them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from search.errors import UserError
from search.schedule import service
from search.schedule.service import Command
from search.schedule.windows import parse

NIGHTS = parse(["Mon-Fri 22:30-07:00, Sat-Sun 00:00-24:00"])


def command(folder: Path, *, data: str = "my images") -> Command:
    arguments = ("/opt/py thon", "/home/me/run_search.py", "--data", data, "--window", "22:30-07:00")
    return Command(folder=folder, arguments=arguments, out=folder / "runs" / "images")


def test_cron_starts_it_with_the_machine_and_with_each_window(tmp_path: Path) -> None:
    lines = service.cron_lines(command(tmp_path), NIGHTS)
    assert [line.split(" cd ")[0] for line in lines] == ["@reboot", "30 22 * * 1,2,3,4,5", "0 0 * * 0,6"]
    assert len({line.rsplit("#", 1)[1] for line in lines}) == 1


@pytest.mark.parametrize("data", ["my images", "it's", "100%", "a;b", "$HOME", 'say "x"', "ünï"])
def test_the_shell_of_cron_sees_the_words_that_were_given(tmp_path: Path, data: str) -> None:
    line = service.cron_lines(command(tmp_path, data=data), NIGHTS)[0]
    words = line.removeprefix("@reboot ").replace("\\%", "%")  # as cron hands it to the shell
    *seen, _, _ = shlex.split(words.split(" && ")[-1], comments=True)  # without where it prints to
    assert seen == [*command(tmp_path, data=data).arguments, "--quiet"]


@pytest.mark.parametrize("data", ["a\nb", "a\rb"])
def test_a_line_break_is_refused(tmp_path: Path, data: str) -> None:
    for write in (
        lambda: service.cron_lines(command(tmp_path, data=data), NIGHTS),
        lambda: service.unit(command(tmp_path, data=data)),
    ):
        with pytest.raises(UserError):
            write()


@pytest.fixture
def crontab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A crontab of our own, behind the real command's name: nobody's is touched."""
    table = tmp_path / "table"
    script = tmp_path / "bin" / "crontab"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\ntable={shlex.quote(str(table))}\n"
        'if [ "$1" != -l ]; then cat > $table; elif [ -e $table ]; then cat $table; '
        'else echo "no crontab for $USER" >&2; exit 1; fi\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return table


def test_installing_twice_leaves_one_and_removing_leaves_what_others_wrote(crontab: Path, tmp_path: Path) -> None:
    crontab.write_text("5 4 * * * backup\n")
    for _ in range(2):
        service.install_cron(command(tmp_path), NIGHTS)
    assert len(crontab.read_text().splitlines()) == 4
    assert service.remove_cron(tmp_path / "other") == []
    assert "Removed" in service.remove_cron(tmp_path / "runs" / "images")[0]
    assert crontab.read_text() == "5 4 * * * backup\n"


def test_the_first_crontab_of_a_user_is_made(crontab: Path, tmp_path: Path) -> None:
    service.install_cron(command(tmp_path), NIGHTS)
    assert len(crontab.read_text().splitlines()) == 3


def test_a_crontab_that_can_not_be_read_is_not_written_over(crontab: Path, tmp_path: Path) -> None:
    crontab.mkdir()  # cat refuses it, in other words than that there is none
    with pytest.raises(UserError, match=r"crontab can't be read .*directory"):
        service.install_cron(command(tmp_path), NIGHTS)
    assert crontab.is_dir()


def test_without_a_crontab_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no crontab"):
        service.install_cron(command(tmp_path), NIGHTS)
    assert service.remove_cron(tmp_path) == []


def test_a_service_is_written_and_taken_away(tmp_path: Path) -> None:
    units = tmp_path / "units"
    told = service.install_units(command(tmp_path), units)
    assert told[0] == f"Written: {units / service.unit_name(tmp_path / 'runs' / 'images')}"
    assert "loginctl enable-linger" in told[-1]
    assert service.remove_units(tmp_path / "runs" / "images", units)[0].startswith("Removed: ")
    assert list(units.iterdir()) == []
    assert service.remove_units(tmp_path / "runs" / "images", units) == []


@pytest.mark.parametrize("data", ["my images", "100%", "$HOME", 'say "x"', "back\\slash", "ünï"])
def test_systemd_understands_the_service(tmp_path: Path, data: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the service was not verified")
    interpreter = tmp_path / "py thon"
    interpreter.write_text("#!/bin/sh\n")
    interpreter.chmod(0o755)
    made = command(tmp_path, data=data)
    file = tmp_path / service.unit_name(made.out)
    file.write_text(
        service.unit(Command(folder=tmp_path, arguments=(str(interpreter), *made.arguments[1:]), out=made.out))
    )
    verdict = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verdict.returncode, verdict.stderr) == (0, "")
