# SPDX-License-Identifier: BSD-2-Clause
"""Files that something rests on: lines that are on disk before the call returns, and directories that a crash keeps.

Only ``OSError`` comes out of here: who keeps such a file knows what it means that it can not be written. The rule is
the same for all: what could not be put on disk is not in the file either, and the caller must not act on it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import Iterator, Optional

# Who may write in the directory could put a link in the place of a file, or another name of one, and have whoever opens
# it, who may be root, write anywhere.
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


class DurableFile:
    """Lines that are only ever appended. For one writer at a time, which the caller sees to; not for two threads."""

    def __init__(self, handle: int) -> None:
        """Takes over an open file. What a crash left of a last line never happened: the next line takes its place.

        :raises OSError:
        """
        self._handle = handle
        self._whole = _whole(handle, os.fstat(handle).st_size)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        create: bool = True,
        mode: int = 0o600,
        group: Optional[int] = None,
        directory: Optional[int] = None,
    ) -> DurableFile:
        """Open for appending. A file that was made is in its directory for good when this returns.

        :param mode: of a file that is made, whatever the umask; ``group``: its group, the process's own by default.
        :param directory: an open directory that ``path`` is in; without it ``path`` stands for itself.
        :raises OSError:
        """
        flags = os.O_RDWR | os.O_APPEND
        try:
            handle = open_file(path, flags, directory=directory)
            made = False
        except FileNotFoundError:
            if not create:
                raise
            handle = open_file(path, flags | os.O_CREAT, mode=mode, group=group, directory=directory)
            made = True
        try:
            if made:
                _sync_parent(path, directory)
            return cls(handle)
        except OSError:
            os.close(handle)
            raise

    def append(self, text: str) -> None:
        """Append whole lines, and return when they are on disk. Otherwise the file is as it was.

        :raises OSError: nothing was appended.
        """
        data = text.encode()
        try:
            # Of a crash, or of what failed before and could not be taken back then.
            if os.fstat(self._handle).st_size > self._whole:
                os.ftruncate(self._handle, self._whole)
            _write(self._handle, data)
            os.fdatasync(self._handle)
        except OSError:
            # Also when the disk refused only the sync: what nobody may rest on must not be read at the next start.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._whole)
            raise
        self._whole += len(data)

    def fileno(self) -> int:
        return self._handle

    def close(self) -> None:
        os.close(self._handle)


def open_file(
    path: str, flags: int, *, mode: int = 0o600, group: Optional[int] = None, directory: Optional[int] = None
) -> int:
    """A regular file by that very name, and no other name of another one.

    :param mode: of a file that is made, whatever the umask; ``group``: its group, the process's own by default.
    :raises OSError:
    """
    made = -1
    if flags & os.O_CREAT:
        with contextlib.suppress(FileExistsError):
            made = os.open(path, flags | os.O_EXCL | _SAFE, 0o600, dir_fd=directory)
    # Without blocking, for what was put there may be a pipe that nobody writes to.
    handle = made if made >= 0 else os.open(path, flags | _SAFE | os.O_NONBLOCK, dir_fd=directory)
    try:
        if made >= 0:
            give(made, mode, group)
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
            raise OSError(errno.EMLINK, "no file of this name alone", path)
    except OSError:
        os.close(handle)
        raise
    return handle


def lock_file(path: str, *, mode: int = 0o600) -> int:
    """A file, made if need be, that only one process at a time has locked; until the handle is closed.

    One of another user that may only be read is locked as well, where the file system can do that.

    :raises BlockingIOError: another process has locked it.
    :raises OSError:
    """
    try:
        handle = open_file(path, os.O_RDWR | os.O_CREAT, mode=mode)
    except PermissionError:
        handle = open_file(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def give(handle: int, mode: int, group: Optional[int]) -> None:
    """Mode and group of one's own file or directory. The mode has no setgid bit, which a hardened service may not set:
    the group is set instead of inherited.

    :raises OSError:
    """
    about = os.fstat(handle)
    if group is not None and about.st_gid != group:
        os.fchown(handle, -1, group)
    if stat.S_IMODE(about.st_mode) & 0o777 != mode:
        os.fchmod(handle, mode)


def replace(path: str, text: str, *, mode: int = 0o600) -> DurableFile:
    """A file of these lines in the place of another, all or nothing; open for appending.

    :raises OSError: the old one is still there; or, when only the directory could not be synced, one of the two.
    """
    fresh = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    made = DurableFile.open(fresh, mode=mode)
    try:
        made.append(text)
        os.rename(fresh, path)
        sync_directory(os.path.dirname(path))
    except OSError:
        made.close()
        raise
    return made


def whole_lines(handle: int) -> Iterator[str]:
    """The lines of an open file, without their ends; a last one that was cut off by a crash never happened.

    The handle is taken over, and closed when all is read.

    :raises OSError:
    """
    with open(handle, encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            yield line[:-1]


def make_directory(path: str, *, mode: int = 0o700) -> None:
    """Make a directory and those above it that are missing; each is in the one above it for good.

    :raises OSError:
    """
    missing = []
    above = os.path.abspath(path)
    while not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(path, mode=mode, exist_ok=True)
    for made in reversed(missing):
        sync_directory(os.path.dirname(made))


def sync_directory(path: str) -> None:
    """
    :raises OSError:
    """
    handle = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_parent(path: str, directory: Optional[int]) -> None:
    if directory is None:
        sync_directory(os.path.dirname(path))
    else:
        os.fsync(directory)


def _whole(handle: int, size: int) -> int:
    """How many bytes of the file are whole lines."""
    end = size
    while end > 0:
        begin = max(end - 4096, 0)
        found = os.pread(handle, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _write(handle: int, data: bytes) -> None:
    """A file system that fills up takes a part and says so only by the count."""
    while data:
        data = data[os.write(handle, data) :]
