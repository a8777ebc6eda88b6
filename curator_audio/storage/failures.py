"""What the many exceptions of many storage libraries mean to a user."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    CuratorError,
    StorageError,
    StorageFullError,
    UnreachableError,
)

FULL = {errno.ENOSPC, errno.EDQUOT}
HOPELESS = {errno.ENAMETOOLONG, errno.EROFS, errno.ELOOP}
BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""What servers answer that may do better the next time."""
CLIENTS = {"aiobotocore", "aiohttp", "asyncio", "botocore", "fsspec", "gcsfs", "google", "s3fs"}
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}
CUT = {"ClientPayloadError", "ContentLengthError", "IncompleteRead", "IncompleteReadError", "ResponseStreamingError"}
CLOSED = {"ClientOSError", "ConnectionClosedError", "ConnectionResetError", "ServerDisconnectedError"}
NOT_S3 = {"BadStatusLine", "ResponseParserError"}
UNREACHABLE = {"ClientConnectorError", "EndpointConnectionError", "ProxyConnectionError"}
PATH = "the path"
NOT_TLS = {"HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "WRONG_VERSION_NUMBER"}
"""How OpenSSL calls what comes from a server that speaks plain HTTP."""

Meaning = tuple[type[CuratorError], str]

NO_STORE: Meaning = StorageError, "what answers there is no S3 store; check endpoint_url"
QUOTA: Meaning = StorageFullError, "the store is full, or its quota is used up; make room and run again"
REGION: Meaning = AccessError, "the bucket is in another region; set storage_options.region={region}"
ANSWERS: dict[str, Meaning] = {
    "AuthorizationHeaderMalformed": REGION,
    "ExpiredToken": (ConfigurationError, "the credentials have expired; get new ones, and run again"),
    "IllegalLocationConstraintException": REGION,
    "InvalidAccessKeyId": (
        ConfigurationError,
        "the store does not know the access key; check S3_ACCESS_KEY (or AWS_ACCESS_KEY_ID) and endpoint_url",
    ),
    "InvalidBucketName": (AccessError, "no bucket can have such a name; check the path"),
    "InvalidObjectState": (AccessError, "the object is archived; restore it first"),
    "InvalidToken": (ConfigurationError, "the session token is not valid; check AWS_SESSION_TOKEN, or get a new one"),
    "KeyTooLongError": (AccessError, "the key has more than 1,024 bytes; check the path"),
    "NoSuchBucket": (AccessError, "there is no such bucket; check the path"),
    "NoSuchUpload": (StorageError, "the store dropped the upload before it was complete; run again"),
    "PermanentRedirect": REGION,
    "QuotaExceeded": QUOTA,
    "RequestTimeTooSkewed": (
        ConfigurationError,
        "this machine's clock says {here}, and the store's {there}; set this one",
    ),
    "SignatureDoesNotMatch": (
        ConfigurationError,
        "the secret key is not the access key's; check S3_SECRET_KEY (or AWS_SECRET_ACCESS_KEY)",
    ),
    "XMinioAdminBucketQuotaExceeded": QUOTA,
    "XMinioStorageFull": QUOTA,
}
"""What the error codes of S3 mean, of those that a user can do something about. What is wrong whichever path is asked
for is a ``ConfigurationError``: it must end a run, and not set every record aside as unreadable."""


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


def without_secrets(text: str) -> str:
    """The text without the passwords and signatures that URLs in it may hold.

    Example:
        >>> without_secrets("cannot read https://me:hunter2@host/a.jsonl?X-Amz-Signature=1a2b: 403")
        'cannot read https://…@host/a.jsonl?…: 403'
    """
    text = re.sub(r"://[^/\s@]+@", "://…@", text)
    return re.sub(r"(https?://[^\s?\"'<>]+\?)[^\s\"'<>:]+", r"\1…", text)


def _translated(error: Exception, path: str, verb: str) -> Exception:
    if isinstance(error, IndexError) and isinstance(error.__context__, TimeoutError):
        error = error.__context__  # s3fs stumbles over the time-out it meets
    meaning = _of_answer(error) or _of_connection(error, path) or _of_file(error, path, verb) or _of_client(error)
    if meaning is None:
        return error
    kind, reason = meaning
    return kind(without_secrets(f"cannot {verb} {path}: {' '.join(reason.splitlines())}"))


def _of_answer(error: Exception) -> Meaning | None:
    """What a store says is wrong, where that is more than that it is forbidden or not there."""
    answer = answer_of(error)
    if not answer:
        return None
    code = answer["Error"].get("Code")
    if not code:
        return NO_STORE
    if code not in ANSWERS:
        return None
    kind, reason = ANSWERS[code]
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer["Error"].get("Region") or headers.get("x-amz-bucket-region") or "…"
    return kind, reason.format(region=region, here=formatdate(usegmt=True), there=headers.get("date", "another time"))


def _of_connection(error: Exception, path: str) -> Meaning | None:
    """What went wrong on the way to a server: its name, its port, TLS, time."""
    if "://" not in path or not (isinstance(error, OSError) or _is_of_client(error)) or answer_of(error):
        return None
    chain = list(chain_of(error))
    names = {type(cause).__name__ for cause in chain}
    where, remedy = _server(chain, path)
    if meaning := _of_tls(chain, where, remedy):
        return meaning
    if any(isinstance(cause, socket.gaierror) for cause in chain):
        return _unreachable(f"the host of {where} is not known", remedy)
    if any(isinstance(cause, ConnectionRefusedError) for cause in chain):
        return _unreachable(f"{where} refuses connections: nothing listens there", remedy)
    if any("Timeout" in name for name in names):
        meaning = _unreachable(f"{where} does not answer in time", f"{remedy} and the network")
        is_connected = not any("Connect" in name and "Timeout" in name for name in names)
        return (StorageError, meaning[1]) if is_connected else meaning
    if names & NOT_S3:
        return NO_STORE
    if names & CUT:
        return StorageError, "the connection was cut before all was there; run again"
    if names & CLOSED:
        meaning = _unreachable(f"{where} closes connections without an answer", f"{remedy}, and whether it is https://")
        return StorageError, meaning[1]
    if names & UNREACHABLE:
        return _unreachable(f"{where}: {_first_line(chain[-1])}", remedy)
    return None


def _of_tls(chain: list[BaseException], where: str, remedy: str) -> Meaning | None:
    kind, option = (AccessError, "SSL_CERT_FILE") if remedy == PATH else (ConfigurationError, "storage_options.verify")
    for cause in chain:
        if reason := getattr(cause, "verify_message", ""):
            refused = f"the TLS certificate of {where} is not accepted ({reason.rstrip('.')})"
            return kind, f"{refused}; for a certificate authority of your own give {option}=/path/ca.pem"
        fault = getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else None
        if fault in NOT_TLS:
            return kind, f"{where} does not speak TLS; give http://, not https://"
        is_folder = isinstance(cause, IsADirectoryError) and type(chain[0]).__name__ == "HTTPClientError"
        if fault == "NO_CERTIFICATE_OR_CRL_FOUND" or is_folder:
            return ConfigurationError, "storage_options.verify is no CA bundle; give a file in PEM format"
    return None


def _server(chain: list[BaseException], path: str) -> tuple[str, str]:
    """The server that was asked, and what to check where it is the wrong one."""
    known: dict[str, Any] = {}
    for cause in chain:
        known |= getattr(cause, "kwargs", {})  # botocore's
    proxy, endpoint = known.get("proxy_url"), known.get("endpoint_url")
    remedy = "HTTP_PROXY and HTTPS_PROXY" if proxy else "endpoint_url" if endpoint else PATH
    return "{0.scheme}://{0.netloc}".format(urlsplit(str(proxy or endpoint or path))), remedy


def _unreachable(what: str, check: str) -> Meaning:
    return UnreachableError, f"the endpoint cannot be reached ({what}); check {check}"


def _of_file(error: Exception, path: str, verb: str) -> Meaning | None:
    is_remote = "://" in path
    if isinstance(error, OSError) and error.errno in FULL:
        return StorageFullError, "no space left on the device; make room and run again, what is done stays"
    if isinstance(error, FileNotFoundError):
        container, file = ("bucket", "file or bucket") if is_remote else ("folder", "file")
        return AccessError, f"there is no such {container if verb == 'write' else file}; check the path"
    if isinstance(error, IsADirectoryError):
        return AccessError, "it is a folder; give a file"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return AccessError, "a part of the path is a file, not a folder"
    if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):  # aiohttp's for http://
        remedy = "check credentials and bucket policy" if is_remote else "check its owner and permissions"
        return AccessError, f"access denied; {remedy}"
    if isinstance(error, OSError) and error.errno in HOPELESS:
        return AccessError, f"{_first_line(error)}; choose another path"
    if isinstance(error, NotImplementedError) and is_remote and verb != "read":
        return AccessError, f"{path.split('://')[0]}:// can only be read; choose another path"
    return None


def _of_client(error: Exception) -> Meaning | None:
    kind = type(error).__name__
    if kind in NO_CREDENTIALS:
        detail = "" if kind == "NoCredentialsError" else f" ({_first_line(error)})"
        return (
            ConfigurationError,
            f"no credentials{detail}; set S3_ACCESS_KEY and S3_SECRET_KEY, or AWS's own variables",
        )
    if kind == "ParamValidationError":
        report = str(error).partition("\n")[2].partition(":")[0]
        return AccessError, f"{report}; check the path"
    if kind == "HTTPClientError" and "header injection" in str(error):
        return ConfigurationError, "the credentials hold a line break or the like; set them without"
    if isinstance(error, (OSError, EOFError)) or _is_of_client(error):
        return StorageError, _first_line(error)
    return None


def _is_of_client(error: BaseException) -> bool:
    return type(error).__module__.split(".")[0] in CLIENTS


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those it came from."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def answer_of(error: BaseException) -> Mapping[str, Any]:
    """What an S3 store answered, as botocore has it; s3fs keeps only its message."""
    for cause in chain_of(error):
        answer = getattr(cause, "response", None)
        if isinstance(answer, dict) and "Error" in answer:
            return answer
    return {}


def _first_line(error: BaseException) -> str:
    if answer := answer_of(error):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code, message = answer["Error"].get("Code"), answer["Error"].get("Message")
        if code == str(status):  # botocore's, for an answer without a body that says more
            remedy = "run again" if status in BUSY else "is endpoint_url that of an S3 store?"
            return f"the store answered {status} and gave no reason; {remedy}"
        return f"the store answered {status} ({code}: {message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
