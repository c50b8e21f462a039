"""Scheduled searches: entries of the user's crontab and systemd services that start a search without anybody."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search.errors import UserError
from search.schedule.windows import Window, Windows

_MARK: Final = "# steadynet"
_RESTART_SECONDS: Final = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """The search command that a schedule starts."""

    folder: Path  # to work in: paths in the arguments may be relative
    arguments: tuple[str, ...]  # interpreter, script, the search's options
    out: Path  # run folder: one schedule each


def cron_lines(command: Command, windows: Windows) -> list[str]:
    """Lines of a crontab that start the search at boot and at the beginning of each window.

    A search that is running already is left alone: the second one ends at once.

    Raises:
        UserError: a path can't be written into a crontab.
    """
    secrets = shlex.quote(str(environment_file()))
    words = f"cd {shlex.quote(str(command.folder))} && set -a && {{ [ ! -r {secrets} ] || . {secrets}; }} && "
    words += f"{shlex.join(command.arguments)} --quiet"
    if not words.isprintable():
        raise UserError("a line break in a path can't be written into a crontab. Rename the folder.")
    escaped = words.replace("%", "\\%")  # a bare one is cron's line break
    times = ["@reboot", *(_cron_time(window) for window in windows.windows)]
    return [f"{time} {escaped} >/dev/null 2>&1 {_mark(command.out)}" for time in dict.fromkeys(times)]


def _cron_time(window: Window) -> str:
    """
    >>> _cron_time(Window(frozenset({5, 6}), 22 * 60 + 30, 420))
    '30 22 * * 0,6'
    """
    days = ",".join(map(str, sorted((day + 1) % 7 for day in window.days))) if len(window.days) < 7 else "*"
    return f"{window.start % 60} {window.start // 60} * * {days}"


def install_cron(command: Command, windows: Windows) -> list[str]:
    """Put the search's lines into this user's crontab, replacing earlier ones for the run folder.

    Returns: what was done, in lines for the user.

    Raises:
        UserError: there is no crontab, it can't be read, or it refused the lines.
    """
    lines = cron_lines(command, windows)
    other_lines = [line for line in _crontab() if not line.endswith(_mark(command.out))]
    _write_crontab([*other_lines, *lines])
    return ["Installed in this user's crontab:", *lines]


def remove_cron(out: Path) -> list[str]:
    """Take the search's lines out of this user's crontab.

    Returns: what was done, in lines for the user; empty if there was nothing to remove.

    Raises:
        UserError: the crontab can't be read or written.
    """
    if shutil.which("crontab") is None:
        return []
    lines = _crontab()
    other_lines = [line for line in lines if not line.endswith(_mark(out))]
    if len(other_lines) == len(lines):
        return []
    _write_crontab(other_lines)
    return [f"Removed from this user's crontab: the search in {out}."]


def unit_name(out: Path) -> str:
    """Name of the systemd service for a run folder."""
    return f"steadynet-{_digest(out)}.service"


def unit(command: Command) -> str:
    """Text of the systemd service: started with the machine and after failures, left alone once its budget is used up.

    Raises:
        UserError: a path can't be written into a service.
    """
    words = " ".join(_quoted(word) for word in (*command.arguments, "--quiet"))
    return f"""\
[Unit]
Description=Steadynet: search in {_plain(str(command.out))}
# What is refused again and again, such as other images, is given up after some two hours.
StartLimitIntervalSec=86400
StartLimitBurst=24

[Service]
Type=exec
WorkingDirectory={_plain(str(command.folder))}
EnvironmentFile=-{_plain(str(environment_file()))}
ExecStart={words}
Restart=on-failure
RestartSec={_RESTART_SECONDS}
# 3, no healthy configuration, gets no better by itself; a database that is away or a full disk (2) may.
RestartPreventExitStatus=3
# A worker that the system kills for want of memory costs its training, not the night.
OOMPolicy=continue
SuccessExitStatus=130
# It writes its report when it is told to end.
TimeoutStopSec=120
KillMode=mixed
Nice=10

[Install]
WantedBy=default.target
"""


def environment_file() -> Path:
    """Path of the file with environment variables for scheduled searches, such as the password of a database."""
    return _configuration() / "steadynet.env"


def user_units() -> Path:
    """Folder in which systemd looks for this user's services."""
    return _configuration() / "systemd" / "user"


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def install_units(command: Command, units: Path) -> list[str]:
    """Write the service into `units` and enable it, if systemd runs for this user.

    Returns: what was done and what is left to do, in lines for the user.

    Raises:
        UserError: the file can't be written, or a path can't be written into a service.
    """
    text, file = unit(command), units / unit_name(command.out)
    try:
        units.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write {file} ({error.strerror}).") from None
    report = [f"Written: {file}"]
    service = [
        ("systemctl", "--user", *words) for words in (("daemon-reload",), ("enable", file.name), ("restart", file.name))
    ]
    if units != user_units() or not all(_run(*words) for words in service):  # one that runs may have other options
        report.append(f"systemd could not be told. When it runs: {' && '.join(map(shlex.join, service))}")
    else:
        report.append(f"Started. How it is getting on: systemctl --user status {file.name}")
    report.append("For it to run while nobody is logged in, once: loginctl enable-linger")
    return report


def remove_units(out: Path, units: Path) -> list[str]:
    """Stop the service and delete its file.

    Returns: what was done, in lines for the user; empty if there was none.
    """
    file = units / unit_name(out)
    if not file.exists():
        return []
    if units == user_units():
        _run("systemctl", "--user", "disable", "--now", file.name)
    file.unlink()
    return [f"Removed: {file}"]


def _mark(out: Path) -> str:
    return f"{_MARK} {_digest(out)}"


def _digest(out: Path) -> str:
    return hashlib.sha256(os.fsencode(out.resolve())).hexdigest()[:12]


def _crontab() -> list[str]:
    if shutil.which("crontab") is None:
        raise UserError("this machine has no crontab. Install cron, or use --install systemd.")
    listing = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    if listing.returncode and "no crontab" not in listing.stderr.lower():  # what is there must not be written over
        raise UserError(f"this user's crontab can't be read ({' '.join(listing.stderr.split()) or 'no reason given'}).")
    return listing.stdout.splitlines() if listing.returncode == 0 else []


def _write_crontab(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"crontab refused the line ({' '.join(done.stderr.split())}).")


def _quoted(word: str) -> str:
    """Quote a word of `ExecStart` by systemd's rules: its own escapes, `%` and `$` doubled."""
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """Escape text as a value of a unit file."""
    if not text.isprintable():
        raise UserError(f"{text!r} can't be written into a service: rename it.")
    return text.replace("%", "%%")


def _run(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
