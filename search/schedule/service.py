"""Scheduled searches: entries of the user's crontab and systemd services that start a search unattended."""

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

    folder: Path  # working directory; paths in the arguments may be relative to it
    arguments: tuple[str, ...]  # interpreter, script and options of the search
    out: Path  # run folder; each run folder has at most one schedule


def cron_lines(command: Command, windows: Windows) -> list[str]:
    """Return the crontab lines that start the search at boot and at the beginning of each window.

    If the search is running already, the second start ends at once.

    Raises:
        UserError: a path contains a line break or another unprintable character.
    """
    secrets = shlex.quote(str(environment_file()))
    words = f"cd {shlex.quote(str(command.folder))} && set -a && {{ [ ! -r {secrets} ] || . {secrets}; }} && "
    words += f"{shlex.join(command.arguments)} --quiet"
    if not words.isprintable():
        raise UserError(
            "a path contains a line break or another unprintable character, which a crontab can't hold. Rename the "
            "folder or file."
        )
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
    """Write the search's lines into this user's crontab, in place of earlier lines for the same run folder.

    Returns:
        Lines for the user that say what was done.

    Raises:
        UserError: the machine has no crontab command, the crontab can't be read, or it refused the lines.
    """
    lines = cron_lines(command, windows)
    other_lines = [line for line in _crontab() if not line.endswith(_mark(command.out))]
    _write_crontab([*other_lines, *lines])
    return ["Installed in this user's crontab:", *lines]


def remove_cron(out: Path) -> list[str]:
    """Remove the lines for a run folder from this user's crontab.

    Returns:
        Lines for the user that say what was done; empty if there was nothing to remove.

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
    """Return the file name of the systemd service for a run folder."""
    return f"steadynet-{_digest(out)}.service"


def unit(command: Command) -> str:
    """Return the text of the systemd service that runs the search.

    The service starts with the machine and restarts after failures; a search that finished is not started again.

    Raises:
        UserError: a path contains a line break or another unprintable character.
    """
    words = " ".join(_quoted(word) for word in (*command.arguments, "--quiet"))
    return f"""\
[Unit]
Description=Steadynet: search in {_plain(str(command.out))}
# A search that is refused at every start, for example because the images changed, ends after about two hours.
StartLimitIntervalSec=86400
StartLimitBurst=24

[Service]
Type=exec
WorkingDirectory={_plain(str(command.folder))}
EnvironmentFile=-{_plain(str(environment_file()))}
ExecStart={words}
Restart=on-failure
RestartSec={_RESTART_SECONDS}
# Exit code 3 (no healthy configuration) will be the same next time; 2 (a database that is away, a full disk) may not.
RestartPreventExitStatus=3
# A worker killed for lack of memory costs its fit, not the night.
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
    """Return the path of the file with environment variables for scheduled searches, such as a database password."""
    return _configuration() / "steadynet.env"


def user_units() -> Path:
    """Return the folder in which systemd looks for this user's services."""
    return _configuration() / "systemd" / "user"


def _configuration() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def install_units(command: Command, units: Path) -> list[str]:
    """Write the service into the folder `units`; if that is `user_units()` and systemd runs, enable and start it.

    Returns:
        Lines for the user that say what was done and what is left to do.

    Raises:
        UserError: the file can't be written, or a path contains an unprintable character.
    """
    text, file = unit(command), units / unit_name(command.out)
    try:
        units.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write {file} ({error.strerror}). Make its folder writable, or pass another.") from None
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
    """Stop the service of a run folder and delete its file from the folder `units`.

    Returns:
        Lines for the user that say what was done; empty if there was no such file.
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
        raise UserError("this machine has no crontab command. Install cron, or pass --install systemd.")
    listing = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    if listing.returncode and "no crontab" not in listing.stderr.lower():  # what is there must not be written over
        raise UserError(f"this user's crontab can't be read ({' '.join(listing.stderr.split()) or 'no reason given'}).")
    return listing.stdout.splitlines() if listing.returncode == 0 else []


def _write_crontab(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["crontab", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"crontab refused the lines ({' '.join(done.stderr.split()) or 'no reason given'}).")


def _quoted(word: str) -> str:
    """Quote a word of `ExecStart` by systemd's rules: its own escapes, `%` and `$` doubled."""
    escaped = _plain(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


def _plain(text: str) -> str:
    """Escape text as a value of a unit file."""
    if not text.isprintable():
        raise UserError(
            f"got {text!r}, which has a line break or another unprintable character. A systemd service can't hold "
            "it. Rename the folder or file."
        )
    return text.replace("%", "%%")


def _run(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
