"""What the many exceptions of many storage libraries mean to a user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from curator_audio.errors import AccessError, CuratorError, StorageError, StorageFullError

FULL = {errno.ENOSPC, errno.EDQUOT}
HOPELESS = {errno.ENAMETOOLONG, errno.EROFS, errno.ELOOP}
CLIENTS = {"botocore", "aiohttp", "s3fs"}
UNREACHABLE = {"EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError", "SSLError"}
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError"}


@contextmanager
def explained(path: str, verb: str) -> Iterator[None]:
    """Turn whatever goes wrong in the block into one line about ``path``.

    Example:
        >>> with explained("in.jsonl", "read"):
        ...     raise FileNotFoundError("in.jsonl")
        Traceback (most recent call last):
        curator_audio.errors.AccessError: cannot read in.jsonl: there is no such file; check the path
    """
    try:
        yield
    except (CuratorError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise _translated(error, path, verb) from error


def _translated(error: Exception, path: str, verb: str) -> Exception:
    cannot = f"cannot {verb} {path}:"
    kind = type(error).__name__
    is_remote = "://" in path
    if isinstance(error, OSError) and error.errno in FULL:
        return StorageFullError(f"{cannot} no space left on the device; make room and run again, what is done stays")
    if isinstance(error, FileNotFoundError):
        container, file = ("bucket", "file or bucket") if is_remote else ("folder", "file")
        return AccessError(f"{cannot} there is no such {container if verb == 'write' else file}; check the path")
    if isinstance(error, IsADirectoryError):
        return AccessError(f"{cannot} it is a folder; give a file")
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return AccessError(f"{cannot} a part of the path is a file, not a folder")
    if kind in NO_CREDENTIALS:
        return AccessError(f"{cannot} no credentials; set S3_ACCESS_KEY and S3_SECRET_KEY, or AWS's own variables")
    if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):  # aiohttp's for http://
        remedy = "check credentials and bucket policy" if is_remote else "check its owner and permissions"
        return AccessError(f"{cannot} access denied; {remedy}")
    if kind in UNREACHABLE:
        unreachable = f"the endpoint cannot be reached ({_first_line(error)}); check endpoint_url and TLS"
        return StorageError(f"{cannot} {unreachable}")
    if isinstance(error, OSError) and error.errno in HOPELESS:
        return AccessError(f"{cannot} {_first_line(error)}; choose another path")
    if isinstance(error, (OSError, EOFError)) or type(error).__module__.split(".")[0] in CLIENTS:
        return StorageError(f"{cannot} {_first_line(error)}")
    return error


def _first_line(error: Exception) -> str:
    answer = getattr(error.__cause__ or error, "response", None)  # botocore's; s3fs keeps only its message
    if isinstance(answer, dict) and "Error" in answer:
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return f"the store answered {status} ({answer['Error'].get('Code')}: {answer['Error'].get('Message')})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
