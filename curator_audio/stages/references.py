"""Files that are named by data, such as the recordings of a manifest: which may be, and what happens where one cannot.

A path that stands in data is that record's own: where it cannot be opened, the record is set aside and the others go
on. Only what meets all of them alike ends a run, see ``reference_faults.py``.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    CuratorError,
    RecordError,
    StorageError,
    StorageFullError,
    UnreachableError,
)
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.reference_faults import FIRST, UNREACHABLE, ReferenceFault, SameCause, Stores
from curator_audio.stages.source import SourceStage
from curator_audio.storage.hosts import PrivateHostError, check_public, is_private_literal
from curator_audio.storage.links import is_below
from curator_audio.storage.names import MAX_KEY_BYTES, MAX_NAME_BYTES
from curator_audio.storage.s3 import SOURCE_PROTOCOL
from curator_audio.storage.storage import Storage, absolute, is_local, join, local_path
from curator_audio.tasks import Record

DEFAULT_SCHEMES = ("s3", SOURCE_PROTOCOL, "gs", "https")
ALIASES = {"s3a": "s3", "gcs": "gs", "az": "abfs"}
WITHOUT_HOSTS = frozenset(("s3", SOURCE_PROTOCOL, "gs", "abfs", "memory", "hf", "oss", "oci"))
"""Schemes whose URLs name a bucket of a store that is known otherwise."""

RULES = ("allowed_schemes", "allow_outside", "allow_private_hosts")
"""The parameters that say what references may name."""

MAX_PATH_BYTES = 4096

_CHAIN = re.compile(r"[A-Za-z][\w+.-]*::|.*::[A-Za-z][\w+.-]*://")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/](?!/)|\\\\")
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*\Z")


@dataclass(frozen=True)
class Rules:
    """What references may name.

    Args:
        allowed_schemes: schemes of URLs, besides those of the manifest's own store.
        allow_outside: whether local files outside of the root, and relative paths out of it, may be named.
        allow_private_hosts: whether hosts with private, loopback or link-local addresses may be named.
    """

    allowed_schemes: tuple[str, ...] = DEFAULT_SCHEMES
    allow_outside: bool = False
    allow_private_hosts: bool = False


class References:
    """The references of one manifest.

    A relative path is below ``audio_dir`` where that is given, else below the folder of the manifest: that is the root.
    One whose ``..`` would lead out of ``audio_dir`` is taken from the manifest's own folder instead, and has to come
    out below ``audio_dir``.

    Args:
        manifest_path: the manifest; empty for records that were made in Python, which may name any local file.
        audio_dir: the folder of relative paths, as the user has it; None for that of the manifest.
        rules: what they may name.
        storage: how they are read.
        output_dir: where the run writes.
        stores: what is known of stores; shared by the manifests of a process.

    Example:
        >>> references = References("/data/corpus/lists/train.jsonl", "/data/corpus")
        >>> references.resolved("audio/./a.wav"), references.resolved("../audio/b.wav")
        ('/data/corpus/audio/a.wav', '/data/corpus/audio/b.wav')
        >>> References("s3://bucket/corpus/train.jsonl").resolved("audio/x/../a.wav")
        's3://bucket/corpus/audio/a.wav'
    """

    def __init__(
        self,
        manifest_path: str = "",
        audio_dir: str | None = None,
        rules: Rules | None = None,
        storage: Storage | None = None,
        output_dir: str = "",
        stores: Stores | None = None,
    ) -> None:
        folder, slash, _ = local_path(manifest_path).rpartition("/")
        self._manifest_folder = folder or slash
        self.root = absolute(audio_dir) if audio_dir else self._manifest_folder
        self._rules = rules or Rules()
        self._storage = storage or Storage()
        self._stores = stores or Stores()
        roots = [path for path in (self._manifest_folder, self.root) if path]
        self._real_roots = [os.path.realpath(path) for path in roots if is_local(path)]
        self._named = {store_of(path) for path in roots}
        self._own = self._named | ({store_of(output_dir)} if output_dir else set())

    # Which file is meant ------------------------------------------------------------------------------------

    def resolved(self, path: str) -> str:
        """The whole path of a reference.

        Raises:
            RecordError: it is none, or may not be named.
        """
        _check_text(path)
        if _CHAIN.match(path) and "://" in path:
            raise ReferenceFault(
                "chained_url", f"{path!r:.200} is a chain of URLs, which is never read; copy or unpack what it leads to"
            )
        if path.startswith("file://"):
            path = local_path(path)
            if not path.startswith("/"):
                raise ReferenceFault("invalid_url", f"'file://{path:.200}' names no file; write file:///folder/name")
        if "://" in path:
            self._check_url(path)
            _check_names(path)
            return path
        if _WINDOWS.match(path):
            raise ReferenceFault(
                "windows_path", f"{path!r:.200} is a path of Windows; give one relative to {self.root or 'a folder'}"
            )
        found = self._absolute(path) if path.startswith("/") else self._below_root(path)
        _check_names(found)
        self._check_links(path, found)
        return found

    def _absolute(self, path: str) -> str:
        found = _normalised(path)
        roots = [root for root in (self.root, self._manifest_folder) if root]
        if not roots or self._rules.allow_outside or any(is_below(root, found) for root in roots):
            return found
        real = os.path.realpath(found)  # one folder may be known by several names
        if any(is_below(root, real) for root in self._real_roots):
            return found
        raise self._leaves(path)

    def _below_root(self, path: str) -> str:
        if not self.root:
            return path
        found = _normalised(join(self.root, path))
        if is_below(self.root, found):
            return found
        from_manifest = _normalised(join(self._manifest_folder, path)) if self._manifest_folder else found
        if is_below(self.root, from_manifest):
            return from_manifest
        if self._rules.allow_outside:
            return found
        raise self._leaves(path)

    def _check_links(self, path: str, found: str) -> None:
        """Check that no link in a local path leads out of the root, nor of the manifest's folder."""
        if not self._real_roots or self._rules.allow_outside or not is_local(found):
            return
        leads_to = os.path.realpath(found)
        if not any(is_below(root, leads_to) for root in self._real_roots):
            raise ReferenceFault(
                "link_leaves_root",
                f"{path!r:.200} is or has a link that leads out of {self.root}; allow_outside=true lets a manifest "
                "name it",
                "outside",
            )

    def _leaves(self, path: str) -> ReferenceFault:
        return ReferenceFault(
            "path_leaves_root",
            f"{path!r:.200} lies outside of {self.root}; allow_outside=true lets a manifest name it, and audio_dir=… "
            "another folder",
            "outside",
        )

    def _check_url(self, path: str) -> None:
        written = path.split("://", 1)[0]
        if not _SCHEME.match(written) or not _is_known(written):
            raise ReferenceFault(
                "unknown_protocol", f"{path!r:.200} begins with '{written:.40}://', which is no known protocol"
            )
        scheme = ALIASES.get(written, written)
        try:
            parts = urlsplit(path)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError as error:
            raise ReferenceFault("invalid_url", f"{path!r:.200} is no URL: {error}") from None
        is_named = store_of(path) in self._named or (not self._named and scheme == "memory")
        allowed = [ALIASES.get(name, name) for name in self._rules.allowed_schemes]
        if not is_named and scheme not in allowed:
            others = ",".join([*self._rules.allowed_schemes, written])
            raise ReferenceFault(
                "scheme_not_allowed",
                f"{path!r:.200}: a manifest may not name {written}://; allowed_schemes=[{others}] lets it",
                f"scheme {scheme}",
            )
        if (not parts.netloc and scheme != "memory") or re.search(r"[\s\0-\x1f]", parts.netloc):
            what = "bucket" if scheme in WITHOUT_HOSTS else "host"
            raise ReferenceFault("invalid_url", f"{path!r:.200} names no {what}; write {written}://{what}/…")
        may_be_private = is_named or scheme in WITHOUT_HOSTS or self._rules.allow_private_hosts
        if not may_be_private and is_private_literal(host):
            raise _private(path)

    # Reading it ---------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self, path: str) -> Iterator[Storage]:
        """Where to read a resolved path; what goes wrong with it in the block is told by whose fault it is.

        Raises:
            RecordError: the record's: there is no such host, no access, no package for it.
            AccessError: the record's as well: there is no such file, or it may not be read.
            StorageError: the store's, which has answered before, or is the run's own: a later try may succeed.
            ConfigurationError: the run's: what it is configured with no longer holds.
        """
        store = store_of(path)
        is_own = self.is_own(path)
        if is_local(path):
            _check_regular(path)
        elif not is_own:
            self._stores.check(store, path)
        try:
            yield self.storage_of(path)
        except (RecordError, StorageFullError):
            raise
        except (ConfigurationError, StorageError) as error:
            if _is_private(error):
                raise _private(path) from None
            if isinstance(error, AccessError) or is_own or self._stores.looked_up or store in self._stores.answered:
                raise
            reason = "unusable_store" if isinstance(error, ConfigurationError) else UNREACHABLE
            fault = ReferenceFault(reason, str(error), f"{reason} {store}", of_store=True)
            if isinstance(error, UnreachableError):
                self._stores.cannot_be_reached(store, fault)
            raise fault from None
        self._stores.answered.add(store)

    def version(self, path: str) -> str:
        """The version of the file at a resolved path, empty where there is none.

        Raises:
            RecordError: as of ``reading``, and where there is no access.
            StorageError: as of ``reading``.
            ConfigurationError: as of ``reading``.
        """
        try:
            with self.reading(path) as storage:
                return storage.info(path).version
        except AccessError as error:
            if is_local(path) or isinstance(error.__cause__, (FileNotFoundError, IsADirectoryError)):
                return ""
            raise self.no_access(path, error) from None
        except (CuratorError, MemoryError):
            raise
        except Exception as error:
            raise _no_reference(path, error) from None

    def fault_of(self, path: str) -> RecordError | None:
        """What is wrong with a reference that is looked up, None for nothing; no fault of it is a store that fails.

        Raises:
            ConfigurationError: as of ``reading``.
        """
        try:
            self.version(self.resolved(path))
        except RecordError as error:
            return error
        except StorageError:
            return None
        return None

    def no_access(self, path: str, error: AccessError) -> ReferenceFault:
        """What an error that a store denies access with means for the reference."""
        store = "/".join(path.split("/", 3)[:3])
        return ReferenceFault("no_access", str(error), f"no_access {store}", of_store=True)

    def is_own(self, path: str) -> bool:
        """Whether a path lies in the store of the manifest, of ``audio_dir`` or of the output, or on this machine."""
        return is_local(path) or store_of(path) in self._own

    def storage_of(self, path: str) -> Storage:
        """What a resolved path is read with."""
        if is_local(path) or store_of(path) in self._named or self._rules.allow_private_hosts:
            return self._storage
        parts = urlsplit(path)
        if parts.scheme in ("http", "https"):
            return self._storage.public
        if ALIASES.get(parts.scheme, parts.scheme) not in WITHOUT_HOSTS and parts.hostname:
            try:
                check_public(parts.hostname)
            except PrivateHostError:
                raise _private(path) from None
        return self._storage


@dataclass(kw_only=True)
class ReadsReferences:
    """The parameters of stages that open files which data names.

    Args:
        allowed_schemes: schemes of URLs that may be named, besides local files below the root (``audio_dir``, or the
            folder of the manifest) and the manifest's own store.
        allow_outside: whether files outside of the root may be named.
        allow_private_hosts: whether hosts with private, loopback or link-local addresses may be named.
    """

    allowed_schemes: list[str] = field(default_factory=lambda: list(DEFAULT_SCHEMES))
    allow_outside: bool = False
    allow_private_hosts: bool = False

    def check_rules(self) -> None:
        """Check the parameters.

        Raises:
            ConfigurationError: one of them is not what it should be.
        """
        schemes = self.allowed_schemes
        if not isinstance(schemes, (list, tuple)) or not all(isinstance(scheme, str) for scheme in schemes):
            raise ConfigurationError(f"allowed_schemes is {schemes!r}; give a list such as [s3,gs,https]")
        for scheme in schemes:
            if not _is_known(scheme):
                raise ConfigurationError(
                    f"allowed_schemes has {scheme!r}, which is not known; give such as s3 or https"
                )
        for name in ("allow_outside", "allow_private_hosts"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; give true or false")

    def references_of(self, manifest_path: str, audio_dir: str | None, worker: WorkerInfo) -> References:
        """The references of a manifest, by the stage's own rules; the same again while manifest and worker are."""
        known: tuple[tuple[str, str | None, WorkerInfo], References] | None = getattr(self, "_known", None)
        of = (manifest_path, audio_dir, worker)
        if known is None or known[0] != of:
            rules = Rules(tuple(self.allowed_schemes), self.allow_outside, self.allow_private_hosts)
            made = References(manifest_path, audio_dir, rules, worker.storage, worker.output_dir, self.stores)
            self._known = known = of, made
        return known[1]

    @property
    def stores(self) -> Stores:
        """What this copy of the stage has learnt about stores."""
        if getattr(self, "_stores", None) is None:
            self._stores = Stores()
        return self._stores

    def look_into(self, source: SourceStage[Any], audio_dir: str | None, path_field: str) -> None:
        """Look up the first references of a source, before anything runs.

        Raises:
            ConfigurationError: all of them meet the same, which can be mended.
        """
        if isinstance(source, ReadsReferences):  # it looks up all of them
            self.stores.looked_up = True
            return
        records = source.first_records(FIRST)
        worker, same = WorkerInfo(storage=source.storage), SameCause()
        for record, manifest_path in records:
            with suppress(RecordError, KeyError):  # what has no path is no reference
                path = path_of(record, path_field)
                same.add(self.references_of(manifest_path, audio_dir, worker).fault_of(path))
        if len(records) < FIRST:
            same.finish()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_known": None}


def _no_reference(path: str, error: Exception) -> ReferenceFault:
    """An error that no storage library should have raised, but for a path that no one has thought of."""
    detail = (str(error) or type(error).__name__).splitlines()[0]
    return ReferenceFault("invalid_path", f"{path!r:.200} cannot be opened: {detail:.200}")


def resolved(path: str, folder: str) -> str:
    """A recording's path by the default rules, relative ones below ``folder``.

    Raises:
        RecordError: it leaves the folder, or may not be named.

    Example:
        >>> resolved("audio/a.wav", "/data/corpus")
        '/data/corpus/audio/a.wav'
    """
    return References(join(folder, "") if folder else "").resolved(path)


def path_of(record: Record, path_field: str = "audio_filepath") -> str:
    """The path that stands in a record.

    Raises:
        RecordError: there is none.
    """
    path = record[path_field]
    if not isinstance(path, str) or not path:
        raise RecordError("wrong_type", f"{path_field} is {path!r:.80}; give a path")
    return path


def store_of(path: str) -> str:
    """What a path's credentials and troubles are shared with: a scheme, with its host where it has one.

    Example:
        >>> store_of("s3://bucket/a.wav"), store_of("https://Host/a.wav"), store_of("/data/a.wav")
        ('s3://', 'https://host', 'file://')
    """
    if is_local(path):
        return "file://"
    scheme, _, rest = path.partition("://")
    scheme = ALIASES.get(scheme, scheme)
    return f"{scheme}://" if scheme in WITHOUT_HOSTS else f"{scheme}://{rest.partition('/')[0].lower()}"


def _is_known(scheme: str) -> bool:
    from fsspec import available_protocols

    return scheme == SOURCE_PROTOCOL or scheme in available_protocols()


def _check_text(path: str) -> None:
    """Check that a path can be one anywhere: no file system and no store has names with NUL, or of no Unicode."""
    if "\0" in path:
        raise ReferenceFault("invalid_path", f"{path!r:.200} has a NUL in it, as no file does; mend it")
    try:
        num_bytes = len(os.fsencode(path) if is_local(path) else path.encode())
    except UnicodeEncodeError:
        raise ReferenceFault("invalid_path", f"{path!r:.200} has half of a character in it; mend it") from None
    if num_bytes > MAX_PATH_BYTES:
        raise ReferenceFault("invalid_path", f"{path!r:.80} has {num_bytes} bytes, as no path does; mend it")


def _check_names(path: str) -> None:
    """Check that a file system, or a store, can have such a file."""
    if is_local(path):
        what, limit = "name", MAX_NAME_BYTES
        num_bytes = max(len(os.fsencode(name)) for name in path.split("/"))
    else:
        what, limit = "key", MAX_KEY_BYTES if store_of(path).endswith("://") else MAX_PATH_BYTES
        num_bytes = len(path.split("/", 3)[-1].encode())
    if num_bytes > limit:
        raise ReferenceFault(
            "invalid_path", f"{path!r:.80} has a {what} of {num_bytes} bytes, as no file does; mend it"
        )


def _check_regular(path: str) -> None:
    """Check that a file is no pipe or device, which would be read for ever."""
    try:
        mode = os.stat(local_path(path)).st_mode
    except OSError:
        return  # whoever opens it will tell
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ReferenceFault("not_a_file", f"{path!r:.200} is a pipe, a socket or a device; give a file")


def _normalised(path: str) -> str:
    """A path without ``.`` and ``..``; names of objects may have empty parts, which stay."""
    if is_local(path):
        return re.sub("^//", "/", posixpath.normpath(path))
    scheme, _, rest = path.partition("://")
    store, *parts = rest.split("/")
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    return f"{scheme}://{'/'.join([store, *kept])}"


def _private(path: str) -> ReferenceFault:
    return ReferenceFault(
        "private_host",
        f"{path!r:.200}: its host has a private, loopback or link-local address; allow_private_hosts=true lets "
        "a manifest name such hosts",
        "private_host",
    )


def _is_private(error: BaseException | None) -> bool:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PrivateHostError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
