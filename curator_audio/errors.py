"""The errors this package raises on purpose: one line each, which names the thing, its value and the remedy.

::

    CuratorError             1   base of all others: the command line prints its line, and ends with its exit status
    ├── ConfigurationError   2   a command, pipeline or parameter is wrong: raised before anything runs
    ├── StorageError         1   something could not be read or written, retries included; a later run may succeed
    │   ├── UnreachableError 1   a server cannot be reached
    │   ├── StorageFullError 1   the disk or store of the output is full: ends the run
    │   └── AccessError      2   a path is missing, or may not be read or written: ends the run, except for a
    │                            file that a record names, which quarantines the record
    ├── SetupError           1   a stage could not be set up in a worker, or workers died too often: ends the run
    ├── LockLostError        1   another run holds the output folder by now: ends the run
    ├── BadRecordError       1   the first bad record of a run with on_error=raise: ends the run
    └── RecordError          –   one record cannot be processed: a stage raises it, and the record is quarantined

The number is the exit status: 1 where a rerun may help, 2 where something has to be changed first. What a single
module raises for itself is a subclass that stands there, such as ``ClipTooLongError`` of a codec.
"""

from __future__ import annotations


class CuratorError(Exception):
    """Base of every error a user can cause or mend. The command line prints its message and no traceback."""

    exit_status = 1


class ConfigurationError(CuratorError):
    """The command, the pipeline or a parameter is wrong; running the same again cannot help."""

    exit_status = 2


class StorageError(CuratorError):
    """Something could not be read or written this time; a later try may succeed."""


class UnreachableError(StorageError):
    """A server cannot be reached from here; other machines may reach it."""


class StorageFullError(StorageError):
    """The disk or store of the output is full; every further write would fail too."""


class AccessError(StorageError):
    """A path does not exist, or may not be read or written: trying again cannot help."""

    exit_status = 2


class SetupError(CuratorError):
    """A stage could not be made ready to work: weights that are missing, a service that does not answer."""


class LockLostError(CuratorError):
    """Another run holds the output folder by now: this one must write nothing more."""


class BadRecordError(CuratorError):
    """A record could not be processed, and ``on_error`` is ``raise``."""


class RecordError(CuratorError):
    """One record cannot be processed; it is quarantined, or stops the run under ``on_error=raise``.

    Args:
        reason: a short fixed identifier that the summary counts by, such as ``missing_field``.
        message: what is wrong with this very record, naming field and value.

    Example:
        >>> str(RecordError("missing_field", "segments[3] has no 'start'"))
        "missing_field: segments[3] has no 'start'"
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def describe(error: BaseException) -> str:
    """Return an error in one line; one that was not foreseen with its type and the line of code it came from."""
    if isinstance(error, CuratorError):
        return str(error)
    first_line = (str(error) or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """Return the line of code an error came from, in brackets, for the author of a stage."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame is not None else ""
