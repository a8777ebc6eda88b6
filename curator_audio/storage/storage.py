"""Reading, listing and atomically writing files at any fsspec URL."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import IO, Any, Protocol, TypeVar

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, StorageError
from curator_audio.storage.atomic_file import (
    AtomicFile,
    LocalAtomicFile,
    MemoryAtomicFile,
    RemoteAtomicFile,
    create_local_file,
    local_version,
    version_told,
)
from curator_audio.storage.failures import explained
from curator_audio.storage.hosts import public_client
from curator_audio.storage.links import Tree
from curator_audio.storage.patience import (
    ChangedMeanwhile,
    RangesIgnored,
    ShortAnswer,
    UnfitAnswer,
    patiently,
    status_of,
)
from curator_audio.storage.s3 import OPTIONS as S3_OPTIONS
from curator_audio.storage.s3 import SOURCE_PROTOCOL, check_no_secrets, s3_arguments, with_bucket

COPY_BLOCK_BYTES = 16 * 2**20
REQUESTS_AT_ONCE = 16
REQUESTS_AHEAD = 3 * REQUESTS_AT_ONCE  # so that one that takes long does not hold up the others
WEB = ("http://", "https://")
_GLOB = re.compile(r"[*?[]")
_TIME = re.compile(r"[\s:]")

Out = TypeVar("Out")
Place = TypeVar("Place", str, "FileInfo")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as listed: its path, size in bytes, and a version that changes when it is written again."""

    path: str
    num_bytes: int
    version: str

    @property
    def etag(self) -> str | None:
        """The etag that the version of an object tells; None where there is none, but a time or nothing."""
        etag = self.version.partition("-")[2]
        return f'"{etag}"' if is_s3(self.path) and etag != "None" and not _TIME.search(etag) else None

    @property
    def mark(self) -> str:
        """The version in a few letters, for where there are many."""
        return hashlib.sha256(self.version.encode()).hexdigest()[:12]


class Permit(Protocol):
    """What is asked before anything is written or deleted."""

    def check(self, storage: Storage) -> None:
        """Raise what keeps ``storage`` from being written to."""


class Storage:
    """Files at local paths and fsspec URLs, with errors that say what to do about them.

    Args:
        options: no secrets; see ``s3_arguments`` for ``s3://``; other protocols get those that are not S3's as
            they are.

    Raises:
        ConfigurationError: a secret among the options.

    Example:
        >>> storage = Storage()
        >>> storage.write("memory://doc/a.txt", b"hello")
        >>> storage.read("memory://doc/a.txt")
        b'hello'
    """

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self._options = dict(options or {})
        check_no_secrets(self._options)
        # Resolved once, where the run is started: workers on other machines need not have the environment.
        self._s3_arguments: dict[str, Any] | None = None
        self._source_arguments: dict[str, Any] | None = None
        self._filesystems: dict[str, Any] = {}
        self._tree: Tree | None = None
        self._permit: Permit | None = None
        self._public: Storage | None = None
        self._is_public = False

    def __repr__(self) -> str:
        return "Storage()"  # the arguments may hold secrets

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_filesystems": {}, "_public": None}

    @property
    def public(self) -> Storage:
        """The same, but that ``http://`` and ``https://`` connect to hosts of the open internet only."""
        if self._public is None:
            self._public = copy(self)
            self._public._is_public = True
        return self._public

    def permitted_by(self, permit: Permit) -> Storage:
        """The same files, of which each is written or deleted only after the permit was checked."""
        permitted = copy(self)
        permitted._permit = permit
        return permitted

    def check_permit(self) -> None:
        """Raise what keeps this from being written to, if anything does."""
        if self._permit is not None:
            self._permit.check(self)

    def prepare(self, *paths: str) -> None:
        """Check the options for these paths and take the credentials from the environment, once."""
        for path in paths:
            self._filesystem(path)

    def within(self, folder: str) -> Storage:
        """The same files, of which links in a local folder are read as ``curator_audio.storage.links`` has it.

        What is read of a link that leads out of the folder, or of a folder in it that is a link, is a ``RecordError``.
        """
        storage = copy(self)
        storage._tree = Tree(local_path(folder)) if is_local(folder) else None
        return storage

    def info(self, path: str) -> FileInfo:
        """Size and version of one file.

        Raises:
            AccessError: there is no such file, or it may not be looked at.
        """
        filesystem = self._filesystem(path)
        with explained(path, "read"):
            info = self._patiently(path, lambda: filesystem.info(path))
            if info["type"] == "directory":
                raise IsADirectoryError(path)
            return _file_info(path, info)

    def find(self, path: str) -> FileInfo | None:
        """Size and version of one file, or None where there is none; asks a store once, where ``info`` may ask twice.

        Raises:
            AccessError: it may not be looked at; some stores say so of what is not there, too.
        """
        filesystem = self._filesystem(path)
        with explained(path, "read"), suppress(FileNotFoundError):
            if is_s3(path):
                bucket, key, _ = filesystem.split_path(path)
                head = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
                return _file_info(path, {"size": head["ContentLength"], "ETag": head.get("ETag")})
            info = filesystem.info(path)
            return _file_info(path, info) if info["type"] != "directory" else None
        return None

    def is_folder(self, path: str) -> bool:
        """Whether the path is a folder (or a prefix that objects start with)."""
        filesystem = self._filesystem(path)
        with explained(path, "read"):
            if is_s3(path):
                try:
                    return bool(filesystem.has_objects(_bucket_and_key(path).rstrip("/") + "/"))
                except FileNotFoundError:
                    return False
            return bool(filesystem.isdir(path.rstrip("/")))

    def exists(self, path: str) -> bool:
        filesystem = self._filesystem(path)
        with explained(path, "read"):
            return bool(filesystem.exists(path))

    def list_files(self, folder: str, max_depth: int | None = None) -> list[FileInfo]:
        """All files below a folder in order of their paths; none where the folder does not exist.

        Args:
            folder: the folder.
            max_depth: 1 for the files in the folder itself, 2 for those in its subfolders too, and so on.
        """
        filesystem = self._filesystem(folder)
        with explained(folder, "list"):
            try:
                if self._tree is not None and local_path(folder) in self._tree:
                    self._tree.check_folder(local_path(folder).rstrip("/"))
                if is_s3(folder):
                    return self._objects(folder, folder.rstrip("/") + "/", max_depth)
                if max_depth == 1 and is_local(folder) and os.path.isdir(local_path(folder)):
                    return _files_in(folder)
                # Looking through folder by folder, fsspec passes over those it may not list, unless told not to.
                walks = max_depth is not None or is_local(folder)
                options = {"on_error": _raise_unless_gone} if walks else {}
                found = filesystem.find(folder.rstrip("/"), maxdepth=max_depth, detail=True, **options)
            except FileNotFoundError:
                return []
            return self._listed(filesystem, folder, found)

    def files_below(self, folder: str) -> Iterator[FileInfo]:
        """The same as ``list_files`` gives, one by one: of a local folder they are never in memory together."""
        if not is_local(folder) or not os.path.isdir(local_path(folder)):
            yield from self.list_files(folder)
            return
        with explained(folder, "list"):
            if self._tree is not None and local_path(folder) in self._tree:
                self._tree.check_folder(local_path(folder).rstrip("/"))
            yield from _files_below(folder.rstrip("/"), local_path(folder))

    def glob(self, pattern: str) -> list[FileInfo]:
        """All files that match a pattern with ``*``, ``?`` and ``[…]``, in order of their paths."""
        filesystem = self._filesystem(pattern)
        with explained(pattern, "list"):
            fixed = fixed_folder(pattern)
            if is_s3(pattern):
                from fsspec.utils import glob_translate

                begin = _GLOB.split(pattern, maxsplit=1)[0]
                depth = None if "**" in pattern else pattern.count("/") - fixed.count("/")
                matches = re.compile(glob_translate(pattern)).match
                return [file for file in self._objects(fixed, begin, depth) if matches(file.path)]
            return self._listed(filesystem, fixed, filesystem.glob(pattern, detail=True))

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            AccessError: there is no such file, or it may not be read.
            StorageError: it could not be read this time, or not all of it came.
        """
        with explained(path, "read"):
            if is_local(path):
                local, tree = local_path(path), self._tree
                if tree is not None and local in tree:
                    return tree.read(local)
                with open(local, "rb", buffering=0) as file:
                    return file.readall()
            filesystem = self._filesystem(path)
            if is_s3(path):
                data: bytes = filesystem.read_object(path)
                return data
            num_bytes = self._patiently(path, lambda: filesystem.info(path))["size"]
            return self._patiently(path, lambda: _checked(filesystem.cat_file(path), num_bytes))

    def read_range(self, path: str, start: int, end: int, listed: FileInfo | None = None) -> bytes:
        """Return all bytes from ``start`` up to ``end``.

        Args:
            path: the file.
            start: offset of the first byte.
            end: one past the last byte, at most the file's size.
            listed: the file as it was listed, where it must still be that one: as far as its store tells versions
                apart, and for the last bytes that nothing follows them.

        Raises:
            AccessError: there is no such file, it may not be read, or its server ignores byte ranges.
            StorageError: it could not be read this time, has less than these bytes, or is not as it was listed.
        """
        if end <= start:
            return b""
        is_last = listed is not None and end == listed.num_bytes
        with explained(path, "read"):
            if is_s3(path):
                etag = listed and listed.etag
                data: bytes = self._filesystem(path).read_object(path, start, end, etag)
                return data
            if is_local(path):
                with open(local_path(path), "rb", opener=self._opener(path)) as file:
                    file.seek(start)
                    data = file.read(end + is_last - start)
                if len(data) < end - start and listed is None:
                    raise OSError(f"it ends before byte {end}")
                if len(data) != end - start:
                    raise ChangedMeanwhile
                return data
            filesystem = self._filesystem(path)
            try:
                return self._patiently(
                    path,
                    lambda: _checked(filesystem.cat_file(path, start=start, end=end + is_last), end - start, is_last),
                )
            except RangesIgnored as error:
                raise AccessError(f"cannot read a part of {path}: {error}") from None

    def read_many(self, paths: list[str]) -> list[bytes]:
        """Several small files, concurrently where the store allows it."""
        return self.each(self.read, paths)

    @contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[IO[bytes]]:
        """The file, to read in order or to seek in.

        Args:
            path: the file.
            reads_ahead: whether more is fetched from a store than is asked for; False for readers that know what they
                want and ask for all of it at once.
        """
        if opener := self._opener(path):
            with explained(path, "read"), open(local_path(path), "rb", opener=opener) as local:
                yield local
            return
        filesystem = self._filesystem(path)
        options = {} if reads_ahead or is_local(path) else {"cache_type": "none"}
        with explained(path, "read"), self._patiently(path, lambda: filesystem.open(path, "rb", **options)) as file:
            if not is_local(path):
                self._check_what_it_fetches(file, path)
            yield file

    def _check_what_it_fetches(self, file: Any, path: str) -> None:
        """Have a file of fsspec fail where a store gives less than it was asked for, and not take that for all."""
        cache, size = getattr(file, "cache", None), getattr(file, "size", None)
        fetch = getattr(cache, "fetcher", None)
        if cache is None or fetch is None or size is None:
            return

        def fetched(start: int, end: int) -> bytes:
            end = min(end, size)
            if end <= start:
                return b""
            try:
                return self._patiently(path, lambda: _checked(fetch(start, end), end - start))
            except ValueError as error:  # of a web server that gives the whole file for any range
                raise RangesIgnored from error

        cache.fetcher = fetched
        if path.startswith(WEB):
            file._fetch_all = lambda: None  # which would go round it

    def _patiently(self, path: str, do: Callable[[], Out]) -> Out:
        """Return what ``do`` gives, tried again where that may help and no client does so by itself."""
        if is_s3(path):
            return do()
        return patiently(do, Exception if path.startswith(WEB) else UnfitAnswer)

    @contextmanager
    def create(self, path: str) -> Iterator[AtomicFile]:
        """A new file that appears, whole, when the block ends without an exception, replacing any older one."""
        file: AtomicFile
        with explained(path, "write"):
            if is_local(path):
                file = LocalAtomicFile(local_path(path))
            elif path.startswith("memory://"):
                file = MemoryAtomicFile(self._filesystem(path), path)
            else:
                file = RemoteAtomicFile(self._filesystem(path), path)
        file.check = self.check_permit
        try:
            yield file
            file.commit()
        except BaseException as error:
            with suppress(Exception):
                file.discard()
            if isinstance(error, Exception):  # another run, which has the folder by now, may have cleaned up in it
                with suppress(StorageError):
                    self.check_permit()
            raise

    def write(self, path: str, data: bytes) -> None:
        """A whole small file, atomically."""
        self.written(path, data)

    def written(self, path: str, data: bytes) -> str:
        """Write a whole small file; returns its version, as in ``FileInfo``, or nothing where it is not known."""
        if is_local(path):
            with self.create(path) as file:
                file.write(data)
            return file.version
        filesystem = self._filesystem(path)
        self.check_permit()
        with explained(path, "write"):
            return version_told(len(data), filesystem.pipe_file(path, data))

    def append_range(self, file: AtomicFile, path: str, start: int, num_bytes: int) -> None:
        """Append a range of another file to one being created; between local files the kernel does it."""
        end = start + num_bytes
        with explained(path, "read"):
            if isinstance(file, LocalAtomicFile) and is_local(path):
                start += file.copy_range(local_path(path), start, num_bytes)
            while start < end:
                data = self.read_range(path, start, min(end, start + COPY_BLOCK_BYTES))
                file.write(data)
                start += len(data)

    def copy_within_store(self, source: str, target: str) -> bool:
        """Have an object store copy a file by itself; returns whether it could: both paths must be in one store."""
        protocol = source.split("://", 1)[0]
        if is_local(source) or target.split("://", 1)[0] != protocol:
            return False
        filesystem = self._filesystem(source)
        self.check_permit()
        with explained(source, "copy"):
            filesystem.cp_file(source, target)
        return True

    def create_exclusively(self, path: str, data: bytes) -> bool:
        """Write the file only if there is none; returns whether it was written.

        Args:
            path: the file.
            data: what nobody else would write: where the answer to our request was lost and the request made again,
                a store says that there is a file already, and its content tells that it is ours.
        """
        filesystem = self._filesystem(path)
        with explained(path, "write"):
            if is_local(path):
                return create_local_file(local_path(path), data)
            try:
                filesystem.pipe_file(path, data, mode="create")
                return True
            except Exception as error:
                if not isinstance(error, FileExistsError) and status_of(error) != 412:
                    raise
            # Not in the handler: what fails here would count as the error before it, and not be tried again.
            with suppress(AccessError):  # it has gone since
                return self.read(path) == data
            return False

    def delete(self, paths: list[str]) -> None:
        """Remove files; those that are gone already are passed over."""
        self.each(self._delete, paths)

    def _delete(self, path: str) -> None:
        self.check_permit()
        with explained(path, "delete"), suppress(FileNotFoundError):
            if is_local(path):
                _remove(local_path(path))
            else:
                self._filesystem(path).rm_file(path)

    def each(self, do: Callable[[str], Out], paths: list[str]) -> list[Out]:
        """What ``do`` gives for every path; requests to a store run at the same time."""
        if len(paths) < 2 or is_local(paths[0]):
            return [do(path) for path in paths]
        self._filesystem(paths[0])  # connected once, not once a thread
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            return list(pool.map(do, paths))

    def ahead(self, do: Callable[[Place], Out], places: Iterable[Place]) -> Iterator[Out]:
        """What ``do`` gives for every path (or file), in order; requests to a store run ahead of what is asked for.

        Example:
            >>> list(Storage().ahead(os.path.basename, ["a/b.txt", "a/c.txt"]))
            ['b.txt', 'c.txt']
        """
        to_do = iter(places)
        first = next(to_do, None)
        if first is None:
            return
        to_do = chain([first], to_do)
        path = first if isinstance(first, str) else first.path
        if is_local(path):
            yield from map(do, to_do)
            return
        self._filesystem(path)  # connected once, not once a thread
        pool = ThreadPoolExecutor(REQUESTS_AT_ONCE)
        try:
            results = deque(pool.submit(do, path) for path in islice(to_do, REQUESTS_AHEAD))
            while results:
                result = results.popleft().result()
                results.extend(pool.submit(do, path) for path in islice(to_do, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)  # nobody waits for what was asked ahead

    def delete_empty_folder(self, folder: str) -> None:
        """Remove a folder that holds nothing any more; object stores have none."""
        if is_local(folder):
            with suppress(OSError):
                os.rmdir(local_path(folder))

    def _opener(self, path: str) -> Callable[[str, int], int] | None:
        """How a local file is opened, if not by its path alone."""
        tree = self._tree
        return tree.opener if tree is not None and is_local(path) and local_path(path) in tree else None

    def abort_stale_uploads(self, folder: str) -> int:
        """Abort uploads to an S3 store below a folder that were begun more than a day ago and never finished.

        A killed run leaves them behind, and they are paid for. Whoever may not list or abort them goes on without.

        Returns:
            How many they were.
        """
        if not is_s3(folder) or "/" not in _bucket_and_key(folder).strip("/"):  # a bucket's may be anybody's
            return 0
        with suppress(CuratorError), explained(folder, "list"):
            return int(self._filesystem(folder).abort_stale_uploads(_bucket_and_key(folder)))
        return 0

    def _objects(self, folder: str, begin: str, max_depth: int | None) -> list[FileInfo]:
        """Return the objects whose paths begin with ``begin``, or the one that ``folder`` is the path of."""
        found = self._filesystem(folder).list_objects(_bucket_and_key(begin), max_depth)
        if not found and begin == folder.rstrip("/") + "/":
            file = self.find(folder.rstrip("/")) if "/" in _bucket_and_key(folder).strip("/") else None
            return [file] if file else []
        bucket = begin[: len(begin) - len(_bucket_and_key(begin).partition("/")[2])]
        files = [_file_info(bucket + info["Key"], info | {"size": info["Size"]}) for info in found]
        return sorted(files, key=attrgetter("path"))

    def _listed(self, filesystem: Any, folder: str, found: Mapping[str, Any]) -> list[FileInfo]:
        """The files found below ``folder``, each path beginning as ``folder`` is written."""
        root, num_stripped = folder.rstrip("/"), len(filesystem._strip_protocol(folder).rstrip("/"))
        files = [(path, info) for path, info in found.items() if info["type"] != "directory"]
        return sorted(
            (_file_info(root + path[num_stripped:], info) for path, info in files), key=lambda info: info.path
        )

    def _filesystem(self, path: str) -> Any:
        protocol = "file" if is_local(path) else path.split("://", 1)[0]
        if protocol not in self._filesystems:
            self._filesystems[protocol] = self._connect(protocol)
        return self._filesystems[protocol]

    def _connect(self, protocol: str) -> Any:
        import fsspec

        if protocol == "file":
            return fsspec.filesystem("file")
        if is_s3(protocol + "://"):
            return self._connect_s3(protocol)
        options = {name: value for name, value in self._options.items() if name not in S3_OPTIONS | {"source"}}
        if protocol in ("gs", "gcs") and not (log := logging.getLogger("gcsfs")).handlers:
            log.addHandler(logging.NullHandler())  # else it prints a traceback of every failure
        if self._is_public and protocol in ("http", "https"):
            options["get_client"] = public_client
        try:
            return fsspec.filesystem(protocol, **options)
        except ValueError:
            known = "a local path, s3://, gs:// or another protocol of fsspec"
            raise ConfigurationError(f"'{protocol}://' is not a known protocol; give {known}") from None
        except ImportError as error:
            extra = " (pip install 'curator-audio[gcs]')" if protocol in ("gs", "gcs") else ""
            raise ConfigurationError(f"'{protocol}://' needs a package that is not installed{extra}: {error}") from None
        except TypeError as error:  # it has to be told more than paths, such as a host
            raise ConfigurationError(f"'{protocol}://' needs storage_options ({error})") from None

    def _connect_s3(self, protocol: str) -> Any:
        from curator_audio.storage.s3_filesystem import PatientS3FileSystem, SourceS3FileSystem

        if protocol == SOURCE_PROTOCOL:
            if self._source_arguments is None:
                self._source_arguments = s3_arguments(self._options, is_source=True)
            filesystem = SourceS3FileSystem(**self._source_arguments)
        else:
            if self._s3_arguments is None:
                self._s3_arguments = s3_arguments(self._options)
            filesystem = PatientS3FileSystem(**self._s3_arguments)
        with suppress(Exception):  # what stands in the way of a connection is told by the first request
            filesystem.connect()
        return filesystem


_ONE_SLASH = re.compile(r"(s3a?|s3\+source|gs|gcs|memory|file|https?):/*")


def is_local(path: str) -> bool:
    """Whether a path is on this machine's file system."""
    return "://" not in path or path.startswith("file://")


def is_s3(path: str) -> bool:
    """Whether a path is that of an object in an S3 store."""
    return path.startswith(("s3://", "s3a://", f"{SOURCE_PROTOCOL}://"))


def local_path(path: str) -> str:
    """The path of a ``file://`` URL; other paths as they are."""
    return path.removeprefix("file://")


def absolute(path: str) -> str:
    """The path as it is found from any working directory, in the one spelling it has: slashes are single, none ends it.

    Addresses of web servers, which may mean something by them, stay as they are.

    Example:
        >>> absolute("s3://bucket//folder/"), absolute("https://host/folder/")
        ('s3://bucket/folder', 'https://host/folder/')
    """
    if not is_local(path):
        protocol, _, rest = with_bucket(path).partition("://")
        is_as_it_is = path.startswith(WEB) or "::" in path or "://" in rest
        return path if is_as_it_is else f"{protocol}://{re.sub('/+', '/', rest).rstrip('/')}"
    if (slip := _ONE_SLASH.match(path)) and "://" not in path:
        raise ConfigurationError(f"{path} is no URL; write {slip[1]}://{path[slip.end() :]}")
    return os.path.abspath(os.path.expanduser(local_path(path)))


def fixed_folder(pattern: str) -> str:
    """The folder that all files which match a pattern lie below.

    Example:
        >>> fixed_folder("/data/2024-*/in.jsonl")
        '/data'
    """
    return _GLOB.split(pattern, maxsplit=1)[0].rpartition("/")[0]


def join(folder: str, *names: str) -> str:
    """``folder/name``, for local paths and URLs alike."""
    return "/".join([folder.rstrip("/"), *names])


def _checked(data: bytes, num_asked: int | None, is_last: bool = False) -> bytes:
    """Return what a store gave, if that is as many bytes as there are.

    Args:
        data: it.
        num_asked: how many there are; None if nobody knows.
        is_last: whether one more was asked for than there should be.
    """
    if num_asked is None or len(data) == num_asked:
        return data
    if len(data) < num_asked:
        raise ShortAnswer(len(data), num_asked)
    raise ChangedMeanwhile if is_last and len(data) == num_asked + 1 else RangesIgnored


def _bucket_and_key(path: str) -> str:
    return path.split("://", 1)[1]


def _raise_unless_gone(error: Exception) -> None:
    """What to do about a folder that cannot be listed; one may go while those above it are listed."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _files_in(folder: str) -> list[FileInfo]:
    """The files in a local folder itself, several times as fast as fsspec lists them."""
    root, files = folder.rstrip("/"), []
    with os.scandir(local_path(folder)) as entries:
        for entry in entries:
            if not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                continue  # neither a folder nor a pipe, which would be waited for
            with suppress(FileNotFoundError):
                stat = _stat_of(entry)
                files.append(FileInfo(f"{root}/{entry.name}", stat.st_size, local_version(stat)))
    return sorted(files, key=attrgetter("path"))


def _files_below(root: str, folder: str) -> Iterator[FileInfo]:
    """All files below a local folder in order of their paths; links to folders are not followed, but given."""
    try:
        with os.scandir(folder) as listed:
            entries = [(entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in listed]
    except FileNotFoundError:  # it has gone since
        return
    for name, entry in sorted(entries, key=itemgetter(0)):
        if name.endswith("/"):
            yield from _files_below(f"{root}/{entry.name}", entry.path)
            continue
        with suppress(FileNotFoundError):
            stat = entry.stat(follow_symlinks=False)
            num_bytes = stat.st_size
            if entry.is_symlink():
                try:
                    num_bytes = entry.stat().st_size
                except OSError:
                    num_bytes = 0
            yield FileInfo(f"{root}/{name}", num_bytes, f"{num_bytes}-{stat.st_mtime}")


def _remove(path: str) -> None:
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # else there can be no such file
            raise


def _stat_of(entry: os.DirEntry[str]) -> os.stat_result:
    """That of a file, or of what a link leads to; of the link itself where that is nothing."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _file_info(path: str, info: Mapping[str, Any]) -> FileInfo:
    """The store's own mark of a file's version: its etag where it has one, else the time it was written."""
    marks = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "created")
    mark = next((info[name] for name in marks if info.get(name)), None)
    return FileInfo(path, int(info["size"] or 0), f"{info['size']}-{str(mark).strip(chr(34))}")
