"""Links in a tree of files: one that leads to a file of the tree is that file, any other one is refused.

What a hard link leads to is a file of the tree like any other; nothing tells the two apart.
"""

from __future__ import annotations

import errno
import os
import stat

from curator_audio.errors import RecordError

_LEAST_BYTES, _MOST_BYTES = 2**16, 2**24


def is_below(root: str, path: str) -> bool:
    """Whether a path without links lies below a folder without links.

    Example:
        >>> is_below("/data", "/data/a"), is_below("/data", "/data-2/a"), is_below("/", "/a")
        (True, False, True)
    """
    return path.startswith(root.rstrip("/") + "/")


def is_link_to_folder(path: str) -> bool:
    """Whether a path or URL is that of a link to a folder of this machine."""
    path = path.removeprefix("file://")
    return "://" not in path and os.path.islink(path) and os.path.isdir(path)


def check_regular(path: str, root: str) -> None:
    """Check that a local file is a regular one, or a link to one below ``root``; one that has gone passes.

    Raises:
        RecordError: it is something else (``link_leaves_root``, ``broken_link``, ``link_to_folder``, ``not_a_file``).
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        leads_to = os.path.realpath(path)
        if not is_below(os.path.realpath(root), leads_to):
            raise _leaves(leads_to, root)
        if not os.path.exists(path):
            raise RecordError("broken_link", f"it is a link to {leads_to}, which is not there; mend or delete it")
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise RecordError("link_to_folder", "it is a link to a folder; put that folder itself in its place")
    if not stat.S_ISREG(mode):
        raise RecordError("not_a_file", "it is a pipe, a socket or a device; delete it")


class Tree:
    """A local folder that nothing is read outside of: its files are opened by way of it.

    Args:
        root: the folder, which may itself be a link.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") or "/"
        self._real_root = os.path.realpath(root)
        self._folder = self.root  # the last one that was found to have no links above it

    def __contains__(self, path: str) -> bool:
        return is_below(self.root, path)

    def check_folder(self, folder: str) -> None:
        """Check that neither a folder below the root nor one above it is a link.

        Raises:
            RecordError: one of them is.
        """
        if folder == self._folder:
            return
        place = self.root.rstrip("/")
        for name in folder[len(place) :].strip("/").split("/"):
            place = f"{place}/{name}"
            if name == "..":
                raise RecordError("path_leaves_root", f"{folder} leaves {self.root}")
            if os.path.islink(place):
                leads_to = os.path.realpath(place)
                if is_below(self._real_root, leads_to):
                    raise RecordError(
                        "link_to_folder", f"{place} is a link to the folder {leads_to}; put that itself in its place"
                    )
                raise _leaves(leads_to, self.root)
        self._folder = folder

    def read(self, path: str) -> bytes:
        """The whole file; in fewer calls than the function ``open`` makes, as trees have many small ones."""
        file = self.opener(path)
        try:
            pieces = [os.read(file, _LEAST_BYTES)]
            num_bytes = len(pieces[0])
            while pieces[-1]:  # room is made for all that is asked for, be there as much or not
                pieces.append(os.read(file, min(max(_LEAST_BYTES, num_bytes), _MOST_BYTES)))
                num_bytes += len(pieces[-1])
            return pieces[0] if len(pieces) == 2 else b"".join(pieces)
        finally:
            os.close(file)

    def opener(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file below the root, as ``opener`` of the function ``open``.

        What counts is what is opened, so that a link put there a moment ago is told too.

        Raises:
            RecordError: it is a link that leads elsewhere, or no file.
            OSError: there is no such file, or it may not be read.
        """
        folder = path[: path.rfind("/")]
        if folder != self._folder:
            self.check_folder(folder)
        flags |= os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is not waited for
        try:
            return os.open(path, flags | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        check_regular(path, self.root)
        file = os.open(path, flags)
        try:
            leads_to = os.path.realpath(f"/proc/self/fd/{file}" if os.path.isdir("/proc/self/fd") else path)
            if not is_below(self._real_root, leads_to):
                raise _leaves(leads_to, self.root)
        except BaseException:
            os.close(file)
            raise
        return file


def _leaves(leads_to: str, root: str) -> RecordError:
    return RecordError("link_leaves_root", f"it is a link to {leads_to}; put that below {root} itself")
