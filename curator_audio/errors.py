"""The errors this package raises on purpose: one line each, naming the thing, the value and the remedy."""

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
    """There is no connection to a server; others may have one."""


class AccessError(StorageError):
    """A path does not exist, or may not be read or written: trying again cannot help."""

    exit_status = 2


class StorageFullError(StorageError):
    """There is no room left where the output goes; every further write would fail too."""


class LockLostError(CuratorError):
    """Another run holds the output folder by now: this one must write nothing more."""


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
    """An error in one line; for one we did not foresee, with its type and the line of code it came from."""
    if isinstance(error, CuratorError):
        return str(error)
    first_line = (str(error) or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """The line of code an error came from, in brackets, for the author of a stage."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame is not None else ""
