"""Errors, sorted by who can act on them.

Anything that is not a `UserError` is our bug and ends with its traceback.
"""


class UserError(Exception):
    """An error that the user can fix: one line that says what came, what was expected and what to do; exit code 2."""


class DataError(UserError):
    """The image folder, the group file or the test folder can't be used as it is."""


class MismatchError(UserError):
    """A run folder or a study belongs to other data, settings or space than this start asks for."""


class BusyError(UserError):
    """Another process is working in the run folder."""


class DamagedError(UserError):
    """A file of ours (study, cache, YAML) can't be read."""


class UserCodeError(UserError):
    """The user's own network file is at fault."""

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lines = lines  # the last lines of their traceback
