"""Requests to S3 stores, made again where that may help, whose answers are looked at before they are believed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import count
from typing import Any

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from curator_audio.storage.failures import ANSWERS
from curator_audio.storage.patience import (
    FEW_TRIES,
    ChangedMeanwhile,
    NotAStore,
    RangesIgnored,
    ShortAnswer,
    code_of,
    status_of,
    wait_before_next,
)
from curator_audio.storage.s3 import SOURCE_PROTOCOL, without_expectation

PIECE_BYTES = 32 * 2**20
PIECES_AT_ONCE = 4
STALE_AFTER = timedelta(days=1)
MAX_UPLOAD_PAGES = 10
REFUSALS = {400, 403}
OF_A_LISTING = {"Name", "KeyCount", "IsTruncated", "Contents", "CommonPrefixes"}
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/")
_MD5 = re.compile(r"[0-9a-f]{32}")


class PatientS3FileSystem(S3FileSystem):  # type: ignore[misc]
    """``s3fs``, in which every request goes through one place that tries again and checks.

    Args:
        tries: how often a request is made at most; None for the usual.
    """

    def __init__(self, *arguments: Any, tries: int | None = None, **options: Any) -> None:
        config = options.get("config_kwargs") or {}
        config = config | {"retries": {"total_max_attempts": 1, "mode": "standard"}}
        super().__init__(*arguments, **options | {"config_kwargs": config})
        self._tries = tries
        self._prepared: Any = None
        self.retries = 1  # neither it nor its client tries anything again: their lists of what passes know no 429

    async def set_session(self, *arguments: Any, **options: Any) -> Any:
        client = await super().set_session(*arguments, **options)
        if client is not self._prepared:
            client.meta.events.register_last("before-call.s3", without_expectation)
            self._prepared = client
        return client

    connect = sync_wrapper(set_session)

    async def _call_s3(self, method: str, *defaults: Mapping[str, Any], **parameters: Any) -> Any:
        given = {name: value for default in defaults for name, value in default.items()} | parameters
        for attempt in count():
            try:
                return await self._checked(method, given, await super()._call_s3(method, *defaults, **parameters))
            except Exception as error:
                failure = error
            if method == "get_object" and "IfMatch" in given and status_of(failure) == 412:
                raise ChangedMeanwhile from None
            if code_of(failure) == "NoSuchUpload":
                if method == "abort_multipart_upload":
                    return {}
                if method == "complete_multipart_upload" and await self._is_complete(given):
                    return {}
            wait_sec = wait_before_next(failure, attempt, self._tries)
            if wait_sec is None:
                raise await self._with_reason(failure, given) if method == "head_object" else failure
            await asyncio.sleep(wait_sec)

    call_s3 = sync_wrapper(_call_s3)

    async def _checked(self, method: str, given: Mapping[str, Any], answer: Any) -> Any:
        """Return the answer, if it is what was asked for; that to ``get_object`` with all bytes read."""
        if method == "get_object":
            return answer | {"Body": _Read(await _whole_body(answer, given))}
        if method == "list_objects_v2" and not answer.keys() & OF_A_LISTING:
            raise NotAStore  # else it would be an empty folder
        if method == "list_objects_v2" and answer.get("IsTruncated") and not answer.get("NextContinuationToken"):
            raise NotAStore  # else the rest of the folder would be missing
        if method == "head_object" and "ContentLength" not in answer:
            raise NotAStore
        return answer

    async def _with_reason(self, failure: Exception, given: Mapping[str, Any]) -> Exception:
        """Return why a store refuses to tell of an object, where it is a reason that ends a run.

        An answer to HEAD has no body that could say so: a key that is not known, or has expired, looks like an object
        that may not be read.
        """
        if status_of(failure) not in REFUSALS:
            return failure
        try:
            answer = await super()._call_s3("get_object", Bucket=given["Bucket"], Key=given["Key"], Range="bytes=0-0")
        except Exception as error:
            return error if code_of(error) in ANSWERS else failure
        answer["Body"].close()
        return failure

    async def _is_complete(self, given: Mapping[str, Any]) -> bool:
        """Tell whether an upload that is not known any more has become its object: the answer that said so was lost."""
        etag = _etag_of_parts([part["ETag"] for part in given["MultipartUpload"]["Parts"]])
        try:
            head = await self._call_s3("head_object", Bucket=given["Bucket"], Key=given["Key"])
        except FileNotFoundError:
            return False
        return etag is not None and _bare(head.get("ETag")) == etag

    async def _read_object(self, path: str, start: int = 0, end: int | None = None, etag: str | None = None) -> bytes:
        """Return the bytes from ``start`` up to ``end``, all of them and of one version of the object.

        Args:
            path: the object.
            start: where they begin.
            end: where they end; None for all there are.
            etag: that of the version they must be of; None for the one that is there.
        """
        bucket, key, _ = self.split_path(path)
        if end is not None:
            return await self._pieces(bucket, key, start, end, etag)
        for attempt in count(1):
            head = await self._call_s3("head_object", Bucket=bucket, Key=key)
            try:
                return await self._pieces(bucket, key, start, int(head["ContentLength"]), head.get("ETag"))
            except ChangedMeanwhile:
                if attempt >= FEW_TRIES:
                    raise
        raise AssertionError

    read_object = sync_wrapper(_read_object)

    async def _pieces(self, bucket: str, key: str, start: int, end: int, etag: str | None) -> bytes:
        condition = {"IfMatch": etag} if etag else {}

        async def piece(first: int) -> bytes:
            last = min(first + PIECE_BYTES, end) - 1
            asked = {"Bucket": bucket, "Key": key, "Range": f"bytes={first}-{last}"}
            answer = await self._call_s3("get_object", **asked, **condition)
            data: bytes = await answer["Body"].read()
            return data

        pieces: list[bytes] = []
        firsts = range(start, end, PIECE_BYTES)
        for position in range(0, len(firsts), PIECES_AT_ONCE):
            pieces += await asyncio.gather(*map(piece, firsts[position : position + PIECES_AT_ONCE]))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _list_objects(self, path: str, max_depth: int | None = None) -> list[dict[str, Any]]:
        """Return what a store tells of all objects whose ``bucket/key`` begins with ``path``.

        An error ends it; fsspec passes over folders that it cannot list.

        Args:
            path: how they begin, in the case of a folder with a slash at the end.
            max_depth: 1 for those without a further slash, 2 for those with one at most, and so on.
        """
        bucket, _, prefix = path.partition("/")
        return [found async for found in self._objects(bucket, prefix, max_depth)]

    list_objects = sync_wrapper(_list_objects)

    async def _objects(self, bucket: str, prefix: str, max_depth: int | None) -> AsyncIterator[dict[str, Any]]:
        asked = {"Bucket": bucket, "Prefix": prefix} | ({} if max_depth is None else {"Delimiter": "/"})
        folders: list[str] = []
        while True:
            page = await self._call_s3("list_objects_v2", **asked)
            for found in page.get("Contents", []):
                yield found
            folders += [folder["Prefix"] for folder in page.get("CommonPrefixes", [])]
            if not page.get("IsTruncated"):
                break
            asked["ContinuationToken"] = page["NextContinuationToken"]
        if max_depth is not None and max_depth > 1:
            for folder in folders:
                async for found in self._objects(bucket, folder, max_depth - 1):
                    yield found

    async def _has_objects(self, path: str) -> bool:
        bucket, _, prefix = path.partition("/")
        page = await self._call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
        return bool(page.get("Contents"))

    has_objects = sync_wrapper(_has_objects)

    async def _abort_stale_uploads(self, path: str) -> int:
        """Abort uploads to keys below a folder that were begun more than a day ago; returns how many."""
        bucket, _, folder = path.partition("/")
        asked = {"Bucket": bucket, "Prefix": f"{folder.rstrip('/')}/"}
        num_aborted = 0
        for _ in range(MAX_UPLOAD_PAGES):
            page = await self._call_s3("list_multipart_uploads", **asked)
            now = _date_of(page)
            for upload in page.get("Uploads", []):
                if now - upload["Initiated"] > STALE_AFTER:
                    await self._call_s3(
                        "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    num_aborted += 1
            markers = {"KeyMarker": page.get("NextKeyMarker"), "UploadIdMarker": page.get("NextUploadIdMarker")}
            if not page.get("IsTruncated") or not all(markers.values()):
                break
            asked |= markers
        return num_aborted

    abort_stale_uploads = sync_wrapper(_abort_stale_uploads)


class SourceS3FileSystem(PatientS3FileSystem):
    """The second store, that of ``s3+source://``."""

    protocol = SOURCE_PROTOCOL


class _Read:
    """A body that has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)

    async def read(self, num_bytes: int = -1) -> bytes:
        return self._data.read(num_bytes)

    def close(self) -> None:
        self._data.close()


async def _whole_body(answer: Mapping[str, Any], given: Mapping[str, Any]) -> bytes:
    """Read the body of an answer to ``get_object``: just the bytes asked for, of the version asked for."""
    body, etag = answer["Body"], answer.get("ETag")
    try:
        if given.get("IfMatch") and etag and _bare(etag) != _bare(given["IfMatch"]):
            raise ChangedMeanwhile
        asked = _RANGE.fullmatch(given.get("Range") or "")
        if asked is None:
            data: bytes = await body.read()
            return data
        start, end = int(asked[1]), int(asked[2]) + 1
        told = _CONTENT_RANGE.match(answer.get("ContentRange") or "")
        is_whole_object = answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        first = int(told[1]) if told else 0 if is_whole_object else start
        if first != start or answer.get("ContentLength", 0) > end - start:
            raise RangesIgnored  # before all of a large file has come
        data = await body.read()
        if len(data) > end - start:
            raise RangesIgnored
        num_told = int(told[2]) + 1 - first if told else len(data)
        if min(len(data), num_told) < end - start:
            raise ShortAnswer(min(len(data), num_told), end - start)
        return data
    finally:
        body.close()


def _etag_of_parts(etags: list[str]) -> str | None:
    """Return the etag of an object put together from parts, as S3 makes it; None where those of the parts are no MD5.

    Example:
        >>> _etag_of_parts(['"5d41402abc4b2a76b9719d911017c592"'])
        '62109206880d38a4010a98e11243924a-1'
    """
    bare = [_bare(etag) for etag in etags]
    if not all(_MD5.fullmatch(etag) for etag in bare):
        return None
    digest = hashlib.md5(b"".join(map(bytes.fromhex, bare)), usedforsecurity=False).hexdigest()
    return f"{digest}-{len(bare)}"


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


def _date_of(answer: Mapping[str, Any]) -> datetime:
    """Return what the store's own clock said; this machine's, where it did not tell."""
    try:
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, TypeError, ValueError):
        return datetime.now(timezone.utc)
    return date.replace(tzinfo=date.tzinfo or timezone.utc)
