"""Members of a tar of others."""

from __future__ import annotations

import tarfile
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.storage.limits import MAX_HEADER_BYTES, MAX_JSON_BYTES, MAX_RECORD_BYTES, MAX_UNPACKED_BYTES

MAX_NAME_LENGTH = 4096
_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, *b"xgX")
_TELLS_OF_NEXT = {bytes([kind]) if isinstance(kind, int) else kind for kind in _HEADERS}
"""The kinds of members that hold the name of the next one, or other words on it, all of which is read at once."""

UNREADABLE = (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError)
"""What comes of a damaged tar, or of one made to do harm."""


class TarMember(tarfile.TarInfo):
    """A file in a tar, whose header must be one, and no larger than headers are.

    Opening or reading a tar of them raises one of ``UNREADABLE`` where it is damaged.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> TarMember:
        """The next one; where there is none, but no end either, that is an error: tarfile takes it for the end."""
        try:
            member = super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
        if member.size < 0:
            raise tarfile.ReadError(f"a member has {member.size} bytes")
        if len(member.name) > MAX_NAME_LENGTH:
            raise tarfile.ReadError(f"a name has {len(member.name)} characters, more than {MAX_NAME_LENGTH}")
        return member

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.size < 0 or (self.type in _TELLS_OF_NEXT and self.size > MAX_HEADER_BYTES):
            raise tarfile.ReadError(f"what tells of a member has {self.size} bytes, more than {MAX_HEADER_BYTES}")
        return super()._proc_member(archive)  # type: ignore[misc]


def check_end(archive: tarfile.TarFile, num_bytes: int) -> None:
    """Check that the member that was just met ends in the file; tarfile would look for its end for hours.

    Args:
        archive: the tar, read as a stream.
        num_bytes: the size of its file.

    Raises:
        tarfile.ReadError: it does not.
    """
    if archive.offset - num_bytes >= tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unexpected end of data")


def check_size(member: tarfile.TarInfo, num_bytes_before: int = 0) -> None:
    """Check that a member may be read into memory.

    Args:
        member: the member.
        num_bytes_before: the size of what is held of others of its key.

    Raises:
        RecordError: ``too_large``.
    """
    limit = MAX_UNPACKED_BYTES if member.issparse() else MAX_RECORD_BYTES  # holes are unpacked to zeros
    limit = min(limit, MAX_JSON_BYTES) if member.name.lower().endswith((".json", ".txt")) else limit
    if num_bytes_before + member.size > limit:
        message = f"{member.name} and what else is of its key have {num_bytes_before + member.size} bytes"
        raise RecordError("too_large", f"{message}, more than {limit}")
