"""Reading, listing and atomically writing files at any fsspec URL."""

from __future__ import annotations

import copy
import errno
import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from typing import IO, Any, TypeVar

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.storage.atomic_file import (
    AtomicFile,
    LocalAtomicFile,
    MemoryAtomicFile,
    RemoteAtomicFile,
    create_local_file,
)
from curator_audio.storage.failures import explained
from curator_audio.storage.links import Tree
from curator_audio.storage.s3 import OPTIONS as S3_OPTIONS
from curator_audio.storage.s3 import (
    SOURCE_PROTOCOL,
    check_no_secrets,
    s3_arguments,
    source_filesystem,
    with_bucket,
    without_expectation,
)

COPY_BLOCK_BYTES = 16 * 2**20
REQUESTS_AT_ONCE = 16
REQUESTS_AHEAD = 3 * REQUESTS_AT_ONCE  # so that one that takes long does not hold up the others
_GLOB = re.compile(r"[*?[]")

Out = TypeVar("Out")
Place = TypeVar("Place", str, "FileInfo")


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as listed: its path, size in bytes, and a version that changes when it is written again."""

    path: str
    num_bytes: int
    version: str

    @property
    def mark(self) -> str:
        """The version in a few letters, for where there are many."""
        return hashlib.sha256(self.version.encode()).hexdigest()[:12]


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

    def __repr__(self) -> str:
        return "Storage()"  # the arguments may hold secrets

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_filesystems": {}}

    def prepare(self, *paths: str) -> None:
        """Check the options for these paths and take the credentials from the environment, once."""
        for path in paths:
            self._filesystem(path)

    def within(self, folder: str) -> Storage:
        """The same files, of which links in a local folder are read as ``curator_audio.storage.links`` has it.

        What is read of a link that leads out of the folder, or of a folder in it that is a link, is a ``RecordError``.
        """
        storage = copy.copy(self)
        storage._tree = Tree(local_path(folder)) if is_local(folder) else None
        return storage

    def info(self, path: str) -> FileInfo:
        """Size and version of one file.

        Raises:
            AccessError: there is no such file, or it may not be looked at.
        """
        filesystem = self._filesystem(path)
        with explained(path, "read"):
            info = filesystem.info(path)
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
                return _file_info(path, {"size": head["ContentLength"], "ETag": head["ETag"]})
            info = filesystem.info(path)
            return _file_info(path, info) if info["type"] != "directory" else None
        return None

    def is_folder(self, path: str) -> bool:
        """Whether the path is a folder (or a prefix that objects start with)."""
        filesystem = self._filesystem(path)
        with explained(path, "read"):
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
                if max_depth == 1 and is_local(folder) and os.path.isdir(local_path(folder)):
                    return _files_in(folder)
                # Looking through folder by folder, fsspec passes over those it may not list, unless told not to.
                walks = max_depth is not None or is_local(folder)
                options = {"on_error": _raise_unless_gone} if walks else {}
                found = filesystem.find(folder.rstrip("/"), maxdepth=max_depth, detail=True, **options)
            except FileNotFoundError:
                return []
            return self._listed(filesystem, folder, found)

    def glob(self, pattern: str) -> list[FileInfo]:
        """All files that match a pattern with ``*``, ``?`` and ``[…]``, in order of their paths."""
        filesystem = self._filesystem(pattern)
        with explained(pattern, "list"):
            return self._listed(filesystem, fixed_folder(pattern), filesystem.glob(pattern, detail=True))

    def read(self, path: str) -> bytes:
        """The whole file."""
        with explained(path, "read"):
            if is_local(path):
                local, tree = local_path(path), self._tree
                if tree is not None and local in tree:
                    return tree.read(local)
                with open(local, "rb", buffering=0) as file:
                    return file.readall()
            data: bytes = self._filesystem(path).cat_file(path)
            return data

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``; object stores refuse a range that starts beyond the file's end."""
        with explained(path, "read"):
            if is_local(path):
                with open(local_path(path), "rb", opener=self._opener(path)) as file:
                    file.seek(start)
                    return file.read(max(0, end - start))
            data: bytes = self._filesystem(path).cat_file(path, start=start, end=end)
            if len(data) > max(0, end - start):
                remedy = "its server ignores byte ranges; copy the file elsewhere"
                raise AccessError(f"cannot read a part of {path}: {remedy}")
            return data

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
        with explained(path, "read"), filesystem.open(path, "rb", **options) as file:
            yield file

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
        try:
            yield file
            file.commit()
        except BaseException:
            with suppress(Exception):
                file.discard()
            raise

    def write(self, path: str, data: bytes) -> None:
        """A whole small file, atomically."""
        if is_local(path):
            with self.create(path) as file:
                file.write(data)
            return
        filesystem = self._filesystem(path)
        with explained(path, "write"):
            filesystem.pipe_file(path, data)

    def append_range(self, file: AtomicFile, path: str, start: int, num_bytes: int) -> None:
        """Append a range of another file to one being created; between local files the kernel does it."""
        end = start + num_bytes
        with explained(path, "read"):
            if isinstance(file, LocalAtomicFile) and is_local(path):
                start += file.copy_range(local_path(path), start, num_bytes)
            while start < end:
                data = self.read_range(path, start, min(end, start + COPY_BLOCK_BYTES))
                if not data:
                    raise OSError(f"it ends before byte {end}")
                file.write(data)
                start += len(data)

    def copy_within_store(self, source: str, target: str) -> bool:
        """Have an object store copy a file by itself; returns whether it could: both paths must be in one store."""
        protocol = source.split("://", 1)[0]
        if is_local(source) or target.split("://", 1)[0] != protocol:
            return False
        filesystem = self._filesystem(source)
        with explained(source, "copy"):
            filesystem.cp_file(source, target)
        return True

    def create_exclusively(self, path: str, data: bytes) -> bool:
        """Write the file only if there is none; returns whether it was written."""
        filesystem = self._filesystem(path)
        with explained(path, "write"):
            if is_local(path):
                return create_local_file(local_path(path), data)
            try:
                filesystem.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            return True

    def delete(self, paths: list[str]) -> None:
        """Remove files; those that are gone already are passed over."""
        self.each(self._delete, paths)

    def _delete(self, path: str) -> None:
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
        try:
            return fsspec.filesystem(protocol, **options)
        except ValueError:
            known = "a local path, s3://, gs:// or another protocol of fsspec"
            raise ConfigurationError(f"'{protocol}://' is not a known protocol; give {known}") from None
        except ImportError as error:
            extra = " (pip install 'curator-audio[gcs]')" if protocol in ("gs", "gcs") else ""
            raise ConfigurationError(f"'{protocol}://' needs a package that is not installed{extra}: {error}") from None

    def _connect_s3(self, protocol: str) -> Any:
        import fsspec

        if protocol == SOURCE_PROTOCOL:
            if self._source_arguments is None:
                self._source_arguments = s3_arguments(self._options, is_source=True)
            filesystem = source_filesystem(self._source_arguments)
        else:
            if self._s3_arguments is None:
                self._s3_arguments = s3_arguments(self._options)
            filesystem = fsspec.filesystem(protocol, **self._s3_arguments)
        filesystem.retries = 2  # on top of the client's own, which back off
        with suppress(Exception):  # what stands in the way of a connection is told by the first request
            filesystem.connect()
            filesystem.s3.meta.events.register_last("before-call.s3", without_expectation)
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
    """The path as it is found from any working directory; a trailing slash stays.

    Example:
        >>> absolute("s3://bucket/folder/")
        's3://bucket/folder/'
    """
    if not is_local(path):
        return with_bucket(path)
    if (slip := _ONE_SLASH.match(path)) and "://" not in path:
        raise ConfigurationError(f"{path} is no URL; write {slip[1]}://{path[slip.end() :]}")
    path = os.path.expanduser(local_path(path))
    return os.path.abspath(path) + ("/" if path.endswith("/") and path != "/" else "")


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
                files.append(FileInfo(f"{root}/{entry.name}", stat.st_size, f"{stat.st_size}-{stat.st_mtime}"))
    return sorted(files, key=attrgetter("path"))


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
