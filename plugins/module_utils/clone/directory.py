# SPDX-License-Identifier: BSD-2-Clause
"""Cloning a server into a directory on its own host, with a record beside it that is on disk before it counts.

The record (``<directory>.clone.json``) is written before the copy (``begun``) and after it (``complete``), each time
whole or not at all. Nothing is ever deleted here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import Any, Callable, Mapping, Optional

from ..errors import HaError
from ..gtid import GtidSet
from ..refusal import Refusal
from ..server.read import read_state
from ..server.session import Session
from . import directory_plan as plan
from .copy import Begun, Statement, Throttle, follow, limit, put
from .facts import read_clone_facts, read_progress, server_uuid_of
from .progress import Progress, size


@dataclasses.dataclass(frozen=True)
class Request:
    """``path``: the directory to be. In seconds: ``within`` one statement, ``clone_within`` the copy.

    ``pause_after`` and ``under_way`` as in ``replication/seed.py``.
    """

    path: str
    clone_user: str
    throttle: Throttle = Throttle()
    within: float = 15.0
    clone_within: float = 86400.0
    pause_after: float = 0.0
    under_way: Optional[Begun] = None


@dataclasses.dataclass(frozen=True)
class DirectoryReport:
    """What was, or in check mode would be, done."""

    changed: bool
    donor: str
    plan: tuple[str, ...]
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    under_way: Optional[Begun] = None
    line: str = ""
    progress: Progress = Progress()
    before: str = ""
    after: str = ""

    def as_result(self) -> dict[str, Any]:
        return {
            "donor": self.donor,
            "finished": self.under_way is None,
            "plan": list(self.plan),
            "progress": dict(self.progress.as_result(), line=self.line),
            "record": dict(self.record),
            **({"under_way": self.under_way.as_dict()} if self.under_way else {}),
        }


def record_path(path: str) -> str:
    return path.rstrip("/") + ".clone.json"


def clone_into(connect: Callable[[], Session], request: Request, *, check_only: bool = False) -> DirectoryReport:
    """Make that directory a clone of the server, unless it is one already.

    :param connect: opens a connection to the donor, whose host this is.
    :raises HaError: refused, with all reasons in its evidence; or ``clone_failed``, ``record_unwritable``.
    """
    session = connect()
    try:
        if request.under_way is not None:
            return _go_on(session, connect, request, request.under_way, None)
        state = read_state(session, within=request.within)
        facts = read_clone_facts(session, request.clone_user, within=request.within)
        path = os.path.normpath(request.path)
        verdict = plan.decide(state, facts, path, look(path, facts.variables.get("datadir", "")))
        if isinstance(verdict, Refusal):
            raise verdict.as_error()
        if isinstance(verdict, plan.Present):
            return DirectoryReport(False, state.name, (), verdict.record)
        if isinstance(verdict, plan.Join):
            begun = Begun(state.name, opened=False)
            if check_only:
                return DirectoryReport(True, state.name, ("wait for the clone that is at work",), progress=facts.clone)
            return _go_on(session, connect, request, begun, None)
        sentence = f"clone {state.name} into {path}, {size(verdict.data)}"
        planned = DirectoryReport(
            True,
            state.name,
            (sentence,),
            before=f"{path}: not there\n",
            after=f"{path}: a clone of {state.name}\n",
        )
        if check_only:
            return planned
        record = {
            "format": plan.FORMAT,
            "state": plan.BEGUN,
            "donor": state.name,
            "donor_uuid": state.server_uuid,
            "donor_version": state.version,
            "directory": path,
            "gtid_at_least": str(state.executed),
            "began": _stamp(),
        }
        begun = Begun(
            state.name,
            facts.clone.began,
            str(state.executed),
            limit(session, request.throttle, within=request.within),
            opened=False,
        )
        write_record(path, record)
        statement = Statement(
            connect(), "CLONE LOCAL DATA DIRECTORY = %s", (path,), within=request.clone_within
        ).start()
        report = _go_on(session, connect, request, begun, statement)
        return dataclasses.replace(report, plan=planned.plan, before=planned.before, after=planned.after)
    finally:
        session.close()


def _go_on(
    session: Session,
    connect: Callable[[], Session],
    request: Request,
    begun: Begun,
    statement: Optional[Statement],
) -> DirectoryReport:
    said: list[Any] = ["", Progress()]

    def say(line: str, seen: Progress) -> None:
        said[:] = [line, seen]

    def leave(_seen: Progress, seconds: float) -> bool:
        return bool(request.pause_after) and seconds >= request.pause_after

    path = os.path.normpath(request.path)
    done = follow(
        path,
        begun,
        lambda: session if session.usable else connect(),
        statement=statement,
        statement_within=request.within,
        clone_within=request.clone_within,
        restart_within=request.clone_within,
        leave=leave,
        say=say,
    )
    if isinstance(done, Begun):
        return DirectoryReport(True, begun.donor, (), under_way=done, line=said[0], progress=said[1])
    put(done, begun.settings, within=request.within)
    seen = read_progress(done, within=request.within)
    executed = str(done.one("SELECT @@GLOBAL.gtid_executed AS gtids", within=request.within)["gtids"])
    record = dict(read_record(path) or {})
    sync_tree(path)
    files, number = measure(path)
    record.update(
        state=plan.COMPLETE,
        gtid_at_most=str(GtidSet.parse(executed)),
        gtid_executed=seen.executed,
        binlog_file=seen.binlog_file,
        binlog_position=seen.binlog_position,
        files=files,
        bytes=number,
        ended=_stamp(),
    )
    write_record(path, record)
    if done is not session:
        done.close()
    return DirectoryReport(True, begun.donor, (), record, progress=seen)


def _stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# --- files -----------------------------------------------------------------------------------------------------------
def look(path: str, datadir: str) -> plan.Place:
    """What lies there."""
    parent = os.path.dirname(path) or "/"
    free = 0
    with contextlib.suppress(OSError):
        about = os.statvfs(parent)
        free = about.f_bavail * about.f_frsize
    files, number = measure(path)
    return plan.Place(
        server_uuid=server_uuid_of(datadir),
        parent=os.path.isdir(parent),
        exists=os.path.lexists(path),
        record=read_record(path),
        files=files,
        bytes=number,
        free=free,
        inside=bool(datadir) and os.path.realpath(path).startswith(os.path.realpath(datadir) + "/"),
    )


def measure(path: str) -> tuple[int, int]:
    """How many files are in it, and their bytes."""
    files = number = 0
    for directory, _directories, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                number += os.lstat(os.path.join(directory, name)).st_size
                files += 1
    return files, number


def sync_tree(path: str) -> None:
    """The names of the copy, too, are on disk: mysqld has synced what is in the files.

    :raises HaError: ``record_unwritable``.
    """
    try:
        for directory, _directories, _names in os.walk(path):
            _sync_directory(directory)
        _sync_directory(os.path.dirname(path) or "/")
    except OSError as error:
        raise _unwritable(path, error) from error


def _sync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_record(path: str) -> Optional[dict[str, Any]]:
    """What lies beside that directory; None when nothing that can be read does."""
    try:
        with open(record_path(path), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == plan.FORMAT else None


def write_record(path: str, record: Mapping[str, Any]) -> None:
    """Whole, and on disk, before this returns.

    :raises HaError: ``record_unwritable``.
    """
    target = record_path(path)
    fresh = f"{target}.{os.getpid()}.tmp"
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(record, file, indent=2, sort_keys=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, target)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        _sync_directory(os.path.dirname(target) or "/")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: OSError) -> HaError:
    return HaError(
        "record_unwritable",
        f"the record of {path} could not be put on disk: {error.strerror}",
        evidence={"directory": path, "record": record_path(path), "errno": error.errno},
        next_step="Mend the file system or the permissions. A directory without its record does not count as a clone.",
    )
