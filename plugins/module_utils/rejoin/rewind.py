# SPDX-License-Identifier: BSD-2-Clause
"""Cutting the surplus off a stopped server's log: archived, kept, written down, announced, cut. In that order, the
first three on disk.

Run again after a crash anywhere, it goes on: before the cut the log still shows the surplus, and what was archived or
kept is found whole and not made again; after it the log shows none, and the record says that it has to be verified.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import BinaryIO, Callable, Iterator

from .. import durable_file
from ..binlog import archive
from ..errors import HaError
from ..gtid import GtidSet
from . import record
from .plan import Rewind
from .remains import Place, last_file

POINTS = ("archive:before", "archive:after", "keep:after", "record:after", "cut:after")
"""Where a drill may kill this process."""

KEPT_AT_MOST = 1 << 30
"""Bytes of a log's end that are kept when it may not be cut."""

_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Where evidence goes. ``archives``: of transactions; ``records``: the record, and bytes that were cut off."""

    cluster: str
    host: str
    archives: str
    records: str = record.DIRECTORY


def rewind(
    way: Rewind,
    own_uuid: str,
    place: Place,
    evidence: Evidence,
    *,
    now: float,
    announce: Callable[[record.Record], None] = lambda made: None,
    reach: Callable[[str], None] = lambda point: None,
) -> record.Record:
    """Do it, while mysqld can not start.

    :param now: seconds since the epoch, for the record.
    :param announce: tells others what is about to be cut; what it raises stops the rewind.
    :param reach: called at each of ``POINTS``.
    :raises HaError: ``server_runs``, ``log_changed``, ``no_space``, ``record_unwritable``, and what archiving raises;
        nothing was cut then.
    """
    with stopped(place.data_directory):
        reach("archive:before")
        archived = archive_surplus(way.surplus, place, evidence, now=now)
        reach("archive:after")
        size = os.path.getsize(way.path)
        name = f"{own_uuid}-{os.path.basename(way.path)}-{way.offset}.cut"
        kept = os.path.join(evidence.records, name)
        digest = keep(way.path, way.offset, size, kept)
        reach("keep:after")
        made = record.Record(
            state=record.CUTTING,
            server_uuid=own_uuid,
            successor_uuid=way.successor_uuid,
            term=way.term,
            gtids=str(way.surplus),
            file=way.path,
            offset=way.offset,
            size=size,
            archive=archived,
            kept=kept,
            sha256=digest,
            at=now,
        )
        record.write(made, evidence.records)
        reach("record:after")
        announce(made)
        cut(way.path, way.offset, size)
        reach("cut:after")
        return made


def archive_surplus(gtids: GtidSet, place: Place, evidence: Evidence, *, now: float, apply: bool = True) -> str:
    """Archive what only this server has; returns the archive's directory. Errors as ``archive.archive``."""
    request = archive.Request(
        gtids, place.index, evidence.archives, evidence.cluster, data_directory=place.data_directory
    )
    return archive.archive(request, apply=apply, now=now, host=evidence.host).path


@contextmanager
def stopped(data_directory: str) -> Iterator[None]:
    """As long as this lasts mysqld can not start: its lock on the system tablespace is held.

    :raises HaError: ``server_runs``; ``data_directory_unusable``.
    """
    path = os.path.join(data_directory, "ibdata1")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise HaError(
            "data_directory_unusable",
            f"cannot open {path}: {error.strerror or error}",
            evidence={"path": path, "errno": error.errno},
            next_step="Run on the database host as root, and check the data directory.",
        ) from error
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HaError(
                "server_runs",
                f"a mysqld runs on {data_directory}: nothing is cut under it",
                evidence={"path": path},
                next_step="Nothing to do: a running server has committed what could be cut. See mysql_rejoin.",
            ) from error
        yield
    finally:
        os.close(handle)


def keep_end(place: Place, records: str, own: str, say: Callable[[str], None]) -> None:
    """Keep the end of the log as it is: recovery changes the file, and a clone removes it.

    :raises HaError: as ``keep``.
    """
    path = last_file(place)
    size = os.path.getsize(path)
    begin = max(0, size - KEPT_AT_MOST)
    name = f"{own or 'unknown'}-{os.path.basename(path)}-{begin}-{size}.kept"
    target = os.path.join(records, name)
    if os.path.exists(target):
        say(f"kept already: {target}")
        return
    keep(path, begin, size, target)
    say(f"the last {size - begin} bytes of {path} are kept in {target}")


def keep(path: str, begin: int, end: int, target: str) -> str:
    """Copy the bytes of a file from ``begin`` up to ``end``; return their SHA-256 when they are on disk and read back.

    :raises HaError: ``no_space``, ``log_changed``.
    """
    partial = target + ".new"
    try:
        durable_file.make_directory(os.path.dirname(target))
        free = shutil.disk_usage(os.path.dirname(target)).free
        if free < end - begin + archive.RESERVE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        with open(path, "rb") as source, open(partial, "wb", opener=_private) as made:
            digest = _copy(source, made, begin, end)
            made.flush()
            os.fsync(made.fileno())
        with open(partial, "rb") as made:
            if _sha256(made) != digest or os.path.getsize(path) != end:
                raise _changed(path)
        os.rename(partial, target)
        durable_file.sync_directory(os.path.dirname(target))
    except OSError as error:
        raise HaError(
            "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "archive_unwritable",
            f"cannot keep {end - begin} bytes of {path} in {target}: {error.strerror or error}",
            evidence={"path": target, "bytes": end - begin, "errno": error.errno},
            next_step="Make room there (never by deleting binary logs by hand); nothing was cut.",
        ) from error
    return digest


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _copy(source: BinaryIO, target: BinaryIO, begin: int, end: int) -> str:
    digest = hashlib.sha256()
    source.seek(begin)
    left = end - begin
    while left:
        piece = source.read(min(_PIECE, left))
        if not piece:
            raise _changed(source.name)
        digest.update(piece)
        target.write(piece)
        left -= len(piece)
    return digest.hexdigest()


def _sha256(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while True:
        piece = stream.read(_PIECE)
        if not piece:
            return digest.hexdigest()
        digest.update(piece)


def cut(path: str, offset: int, size: int) -> None:
    """Cut a file off at ``offset``, for good.

    :param size: what it must have until then.
    :raises HaError: ``log_changed``, ``cut_failed``.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(handle).st_size != size:
                raise _changed(path)
            os.ftruncate(handle, offset)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise HaError(
            "cut_failed",
            f"cannot cut {path}: {error.strerror or error}",
            evidence={"path": path, "errno": error.errno},
            next_step="Check the disk; the server can be cloned.",
        ) from error


def _changed(path: str) -> HaError:
    return HaError(
        "log_changed",
        f"{path} changed while it was read",
        evidence={"path": path},
        next_step="Find out what writes there; nothing was cut.",
    )
