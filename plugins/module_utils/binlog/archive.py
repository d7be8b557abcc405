# SPDX-License-Identifier: BSD-2-Clause
"""Evidence: the raw events of named transactions, taken out of the binary log and kept.

An archive is a directory of its own (0700) with three files (0600):

* ``transactions.binlog``: a binary log file that ``mysqlbinlog`` reads: the FORMAT_DESCRIPTION event of the source
  (marked as closed), then the transactions, byte for byte. Where the source's format changes, the description of the
  next source file stands before its transactions.
* ``rows.jsonl``: their row changes and statements, decoded (``rows_json``).
* ``manifest.json``: what was asked and what was not found and why, where each transaction lay, its SHA-256, what it
  touched, and the SHA-256 of the whole; of the rows their number, the SHA-256, and which transactions could not be
  decoded.

Archives of format 1 had no ``rows.jsonl``; they stay good.

It appears at once or not at all: built beside its place, read back with the same reader, synced, renamed. It is never
written over. Nothing in the binary log or the data directory is changed.
"""

from __future__ import annotations

import configparser
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from ..errors import HaError
from ..gtid import EMPTY, GtidSet, Interval, Origin
from . import archive_rows, events
from .archive_rows import ROWS_NAME
from .archive_rows import digest as _digest
from .files import BinlogFile, Candidate, Choice, Ending, choose_files, membership, read_index
from .transactions import Transaction

FORMAT = 2
_READABLE = (1, FORMAT)
LOG_NAME = "transactions.binlog"
MANIFEST_NAME = "manifest.json"
RESERVE = 64 << 20
"""Free space that is left alone: the archive often shares the disk with the data it is about."""
MOST_RETURNED = 500
"""How many transactions a result names; the manifest has all."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PARTIAL = ".partial-"
_MANIFEST_AT_MOST = 1 << 16
"""Bytes of a manifest, without its transactions."""
_LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class Request:
    """What to archive, from where, to where.

    :param wanted: the transactions to look for.
    :param index: the index file of the binary log.
    :param directory: archives are its subdirectories.
    :param name: the archive's name; empty: made from cluster, server and set, so that the same request has the same.
    :param data_directory: what relative names in the index are relative to, and where ``auto.cnf`` lies; by default
        the directory of the index.
    """

    wanted: GtidSet
    index: str
    directory: str
    cluster: str = "mysql"
    name: str = ""
    data_directory: str = ""
    allow_missing: bool = False


@dataclasses.dataclass(frozen=True)
class Found:
    """One wanted transaction, and the file it lies in."""

    path: str
    transaction: Transaction


@dataclasses.dataclass(frozen=True)
class Missing:
    """Wanted GTIDs that are not whole in the binary log.

    :param why: ``incomplete`` (it begins, and the file ends before it does, as after a crash), ``damaged`` (the
        file that should hold it is damaged at it or before it), ``older_than_the_oldest_file``, ``not_in_the_log``
        (the server counts it as executed, but did not log it here) or ``unknown_here``.
    """

    gtids: GtidSet
    why: str


@dataclasses.dataclass(frozen=True)
class Search:
    """What the binary log has of the wanted transactions."""

    choice: Choice
    found: tuple[Found, ...]
    missing: tuple[Missing, ...]
    endings: Mapping[str, Ending]

    @property
    def found_gtids(self) -> GtidSet:
        return _as_set(found.transaction for found in self.found)

    @property
    def missing_gtids(self) -> GtidSet:
        result = EMPTY
        for missing in self.missing:
            result = result | missing.gtids
        return result


@dataclasses.dataclass(frozen=True)
class Archived:
    """What was done, or in check mode would be."""

    changed: bool
    path: str
    values: Mapping[str, Any]
    before: str
    after: str


def _as_set(transactions: Any) -> GtidSet:
    origins: dict[Origin, list[Interval]] = {}
    for each in transactions:
        if each.gtid is not None:
            origins.setdefault((each.gtid.uuid, each.gtid.tag), []).append((each.gtid.number, each.gtid.number))
    return GtidSet(origins)


# Looking


def search(paths: list[str], wanted: GtidSet) -> Search:
    """Find the wanted transactions, reading only files that may hold them.

    :raises HaError: what ``choose_files`` and ``BinlogFile`` raise.
    """
    choice = choose_files(paths, wanted)
    found: list[Found] = []
    seen = EMPTY
    unfinished = EMPTY
    damaged = EMPTY
    endings: dict[str, Ending] = {}
    for candidate in choice.candidates:
        left = wanted - seen
        if not left & candidate.may_hold:
            continue
        is_new = membership(left)
        here: dict[str, Found] = {}
        with BinlogFile.open(candidate.path) as file:
            for transaction in file.transactions(left):
                if not transaction.complete:
                    if transaction.gtid is not None and is_new(transaction.gtid):
                        unfinished = unfinished | transaction.gtid.as_set()
                elif str(transaction.gtid) not in here:
                    here[str(transaction.gtid)] = Found(candidate.path, transaction)
            endings[candidate.path] = file.ending
        found.extend(here.values())
        of_this = _as_set(each.transaction for each in here.values())
        seen = seen | of_this
        if file.ending.how == "damaged":
            damaged = damaged | (candidate.may_hold - of_this)
    return Search(choice, tuple(found), _missing(choice, wanted - seen, unfinished, damaged), endings)


def _missing(choice: Choice, lost: GtidSet, unfinished: GtidSet, damaged: GtidSet) -> tuple[Missing, ...]:
    logged_later = EMPTY
    for candidate in choice.candidates:
        if not candidate.is_last:
            logged_later = logged_later | candidate.may_hold
    causes = (
        ("older_than_the_oldest_file", choice.older),
        ("damaged", damaged),
        ("incomplete", unfinished),
        ("not_in_the_log", logged_later),
        ("unknown_here", lost),
    )
    missing = []
    for why, gtids in causes:
        part = lost & gtids
        if part:
            missing.append(Missing(part, why))
            lost = lost - part
    return tuple(missing)


def server_uuid(data_directory: str) -> str:
    """From ``auto.cnf``; empty when there is none."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        with open(os.path.join(data_directory, "auto.cnf"), encoding="utf-8", errors="replace") as stream:
            parser.read_file(stream)
        return parser.get("auto", "server-uuid", fallback="").strip().lower()
    except (OSError, configparser.Error):
        return ""


# The archive


def archive(request: Request, *, apply: bool, now: float, host: str) -> Archived:
    """Archive the wanted transactions, unless they are archived already.

    :param apply: False: do everything but write.
    :param now: seconds since the epoch, for the manifest.
    :param host: this host's name, for the manifest.
    :raises HaError: ``gtids_not_in_binlog``, ``archive_exists``, ``archive_damaged``, ``no_space``,
        ``archive_directory_unsafe``, ``archive_name_invalid``, ``archive_busy``, ``archive_unwritable``, and what
        reading the binary log raises.
    """
    if not request.wanted:
        return Archived(False, "", _nothing(), "", "")
    data_directory = request.data_directory or os.path.dirname(os.path.abspath(request.index))
    uuid = server_uuid(data_directory)
    name = request.name or _default_name(request, uuid)
    if not _NAME.fullmatch(name):
        raise HaError(
            "archive_name_invalid",
            f"{name[:130]!r} cannot be the name of an archive",
            evidence={"name": name[:200]},
            next_step="Use letters, digits, dot, dash and underscore; begin with a letter or digit; at most 128.",
        )
    target = os.path.join(os.path.abspath(request.directory), name)
    existing = _existing(target)
    if existing is not None:
        _kept_or_error(request, target, existing, uuid)
        text = _text(target, existing)
        return Archived(False, target, _values(target, existing), text, text)
    result = search(read_index(request.index, request.data_directory), request.wanted)
    if result.missing and not request.allow_missing:
        raise _not_found(request, result)
    manifest = _manifest(request, result, uuid, now, host)
    _check_directory(request.directory)
    _check_space(request.directory, result)
    if apply:
        with _locked(request.directory):
            meanwhile = _existing(target)
            if meanwhile is not None:
                # Another run was faster: its archive is as good, if it is of the same.
                _kept_or_error(request, target, meanwhile, uuid)
                text = _text(target, meanwhile)
                return Archived(False, target, _values(target, meanwhile), text, text)
            manifest = _write(target, manifest, result)
    return Archived(True, target, _values(target, manifest), "", _text(target, manifest))


def _default_name(request: Request, uuid: str) -> str:
    cluster = re.sub(r"[^A-Za-z0-9._-]+", "_", request.cluster).strip("._-")[:64] or "mysql"
    digest = hashlib.sha256(str(request.wanted).encode()).hexdigest()[:16]
    return "-".join(part for part in (cluster, uuid[:8], digest) if part)


def _not_found(request: Request, result: Search) -> HaError:
    missing = result.missing_gtids
    return HaError(
        "gtids_not_in_binlog",
        f"{len(missing)} of {len(request.wanted)} transactions are not whole in the binary log",
        evidence={
            "missing": [{"gtids": str(each.gtids), "why": each.why} for each in result.missing],
            "found": str(result.found_gtids),
            "index": request.index,
            "oldest_file": result.choice.oldest,
            "files_read": {path: ending.as_result() for path, ending in result.endings.items()},
        },
        next_step=(
            "Look for them on other servers and in backups of the binary log; then run again with allow_missing to"
            " archive what there is."
        ),
    )


def _nothing() -> dict[str, Any]:
    return {
        "path": "",
        "manifest": "",
        "found": "",
        "missing": [],
        "missing_gtids": "",
        "transactions": [],
        "transaction_count": 0,
        "tables": [],
        "size": 0,
        "sha256": "",
        "rows": dict(archive_rows.NOTHING),
        "server_uuid": "",
    }


def _values(target: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The module's result, from a manifest."""
    rows = manifest.get("rows") or archive_rows.NOTHING
    return {
        "path": target,
        "manifest": os.path.join(target, MANIFEST_NAME),
        "found": manifest["found"],
        "missing": manifest["missing"],
        "missing_gtids": manifest["missing_gtids"],
        "transactions": manifest["transactions"][:MOST_RETURNED],
        "transaction_count": len(manifest["transactions"]),
        "tables": manifest["tables"],
        "size": manifest["archive"]["size"],
        "sha256": manifest["archive"]["sha256"],
        "rows": {**rows, "undecoded": rows["undecoded"][:MOST_RETURNED]},
        "server_uuid": manifest["server_uuid"],
    }


def _text(target: str, manifest: Mapping[str, Any]) -> str:
    """For diffs: the archive in a few lines."""
    lines = [f"archive: {target}", f"found: {manifest['found']}", f"missing: {manifest['missing_gtids']}"]
    lines += [
        f"{each['schema']}.{each['table']}: write {each['write']}, update {each['update']}, delete {each['delete']}"
        for each in manifest["tables"]
    ]
    return "".join(line.rstrip() + "\n" for line in lines)


def _manifest(request: Request, result: Search, uuid: str, now: float, host: str) -> dict[str, Any]:
    tables: dict[tuple[str, str], dict[str, int]] = {}
    transactions = []
    for each in result.found:
        for table in each.transaction.tables:
            counts = tables.setdefault((table.schema, table.table), {"write": 0, "update": 0, "delete": 0})
            counts["write"] += table.write
            counts["update"] += table.update
            counts["delete"] += table.delete
        where = {
            "source": each.path,
            "start": each.transaction.start,
            "end": each.transaction.end,
            "archive_start": 0,
            "sha256": "",
            "lines": 0,
        }
        transactions.append({**each.transaction.as_result(), **where})
    return {
        "format": FORMAT,
        "kind": "lossless.mysql_ha binlog archive",
        "cluster": request.cluster,
        "server_uuid": uuid,
        "host": host,
        "created_at": now,
        "asked": str(request.wanted),
        "found": str(result.found_gtids),
        "missing_gtids": str(result.missing_gtids),
        "missing": [{"gtids": str(each.gtids), "why": each.why} for each in result.missing],
        "index": request.index,
        "sources": [
            {
                "path": candidate.path,
                "server_version": candidate.prelude.format.server_version if candidate.prelude.format else "",
                "previous_gtids": str(candidate.prelude.previous_gtids or ""),
                "ending": result.endings[candidate.path].as_result(),
            }
            for candidate in result.choice.candidates
            if candidate.path in result.endings
        ],
        "tables": [{"schema": schema, "table": table, **counts} for (schema, table), counts in sorted(tables.items())],
        "archive": {"file": LOG_NAME, "size": 0, "sha256": ""},
        "rows": dict(archive_rows.NOTHING),
        "transactions": transactions,
    }


# What is there already


def _unusable(target: str, why: str) -> HaError:
    return HaError(
        "archive_damaged",
        f"{target} is there and is not a whole archive: {why}",
        evidence={"path": target, "why": why},
        next_step="Find out what changed it, keep it aside as evidence, and archive again under another name.",
    )


def _exists(target: str, why: str) -> HaError:
    return HaError(
        "archive_exists",
        f"{target} is there and holds something else: {why}",
        evidence={"path": target, "why": why},
        next_step="Give another name; an archive is never written over.",
    )


def load(target: str) -> dict[str, Any]:
    """The manifest of an archive whose bytes are those it was made with.

    :raises HaError: ``archive_damaged``: it is none, or not there.
    """
    manifest = _existing(target)
    if manifest is None:
        raise _unusable(target, "it is not there")
    return manifest


def objects(target: str, manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What ``rows.jsonl`` of an archive holds, one object after the other; see ``rows_json`` for their form.

    :raises HaError: ``rows_unreadable``; for an archive of format 1, which is decoded now, what decoding raises.
    """
    return archive_rows.objects(target, manifest, LOG_NAME)


def _existing(target: str) -> Optional[dict[str, Any]]:
    """The manifest of an archive that is there, whose bytes are those it was made with; None when nothing is there."""
    if not os.path.lexists(target):
        return None
    if os.path.islink(target) or not os.path.isdir(target):
        raise _unusable(target, "it is not a directory")
    try:
        with open(os.path.join(target, MANIFEST_NAME), encoding="utf-8") as stream:
            manifest = json.load(stream)
        digest, size = _digest(os.path.join(target, LOG_NAME))
    except (OSError, ValueError) as error:
        raise _unusable(target, f"{type(error).__name__}: {error}") from error
    wanted_keys = set(_manifest_keys())
    if not isinstance(manifest, dict) or manifest.get("format") not in _READABLE or not wanted_keys <= set(manifest):
        raise _unusable(target, f"its manifest is not of format {' or '.join(map(str, _READABLE))}")
    if manifest["archive"] != {"file": LOG_NAME, "size": size, "sha256": digest}:
        raise _unusable(target, f"{LOG_NAME} is not what the manifest says (SHA-256 {digest}, {size} bytes)")
    if manifest["format"] >= 2:
        _check_rows(target, manifest.get("rows"))
    return manifest


def _check_rows(target: str, told: Any) -> None:
    if not isinstance(told, dict) or set(told) != set(archive_rows.NOTHING) or told["file"] != ROWS_NAME:
        raise _unusable(target, f"its manifest does not tell what {ROWS_NAME} is")
    try:
        digest, size = _digest(os.path.join(target, ROWS_NAME))
    except OSError as error:
        raise _unusable(target, f"{type(error).__name__}: {error}") from error
    if (told["sha256"], told["size"]) != (digest, size):
        raise _unusable(target, f"{ROWS_NAME} is not what the manifest says (SHA-256 {digest}, {size} bytes)")


def _manifest_keys() -> tuple[str, ...]:
    return (
        "cluster",
        "server_uuid",
        "asked",
        "found",
        "missing",
        "missing_gtids",
        "tables",
        "archive",
        "transactions",
    )


def _kept_or_error(request: Request, target: str, existing: Mapping[str, Any], uuid: str) -> None:
    """Whether the archive that is there is what was asked for.

    One that lacks nothing is, whatever the binary log holds by now: it may have been cut or purged since. One that
    lacked something is, unless more can be found now, or the same GTIDs have other contents.
    """
    for key, value in (("cluster", request.cluster), ("server_uuid", uuid), ("asked", str(request.wanted))):
        if existing[key] != value:
            raise _exists(target, f"its {key} is {existing[key]!r}, not {value!r}")
    if not existing["missing"]:
        return
    result = search(read_index(request.index, request.data_directory), request.wanted)
    if not request.allow_missing:
        raise _not_found(request, result)
    kept = {each["gtid"]: each["sha256"] for each in existing["transactions"]}
    more = result.found_gtids - GtidSet.parse(existing["found"])
    if more:
        raise _exists(target, f"more can be found now: {more}")
    for found, digest in _digests(result):
        if kept[str(found.transaction.gtid)] != digest:
            raise _exists(target, f"{found.transaction.gtid} has other contents now")


def _digests(result: Search) -> Iterator[tuple[Found, str]]:
    for path, group in _by_file(result):
        with BinlogFile.open(path) as file:
            for found in group:
                digest = hashlib.sha256()
                for piece in file.raw(found.transaction.start, found.transaction.end):
                    digest.update(piece)
                yield found, digest.hexdigest()


def _by_file(result: Search) -> list[tuple[str, list[Found]]]:
    groups: dict[str, list[Found]] = {}
    for found in result.found:
        groups.setdefault(found.path, []).append(found)
    return list(groups.items())


# Writing


def _nearest(directory: str) -> str:
    """The directory, or the nearest above it that exists."""
    path = os.path.abspath(directory)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def _check_directory(directory: str) -> None:
    """Whoever may write in the directory could put another archive in the place of this one."""
    path = os.path.abspath(directory)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HaError(
            "archive_directory_unsafe",
            f"{path} is not a directory that only its owner can write in",
            evidence={"path": path, "mode": oct(found.st_mode)},
            next_step=f"chmod go-w {path}, or give another directory.",
        )


def _check_space(directory: str, result: Search) -> None:
    needed = RESERVE + _MANIFEST_AT_MOST
    needed += sum(each.transaction.length + 4096 for each in result.found)
    place = _nearest(directory)
    free = _free(place)
    if free < needed:
        raise _no_space(place, needed, free)


def _free(place: str) -> int:
    try:
        state = os.statvfs(place)
    except OSError as error:
        raise _unwritable(place, error) from error
    return state.f_bavail * state.f_frsize


def _no_space(place: str, needed: int, free: int) -> HaError:
    return HaError(
        "no_space",
        f"{place} has {free} bytes free; the archive and a reserve of {RESERVE} need {needed}",
        evidence={"path": place, "needed": needed, "free": free, "reserve": RESERVE},
        next_step="Make room (never by deleting binary logs by hand), or give a directory on another disk.",
    )


def _unwritable(path: str, error: OSError) -> HaError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HaError(
            "no_space",
            f"no space left while writing {path}",
            evidence={"path": path, "errno": error.errno},
            next_step="Make room (never by deleting binary logs by hand), or give a directory on another disk.",
        )
    return HaError(
        "archive_unwritable",
        f"cannot write {path}: {error.strerror or error}",
        evidence={"path": path, "errno": error.errno},
        next_step="Run on the database host as root, and check the directory.",
    )


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directories(path: str) -> None:
    """Make it and what is missing above it, 0700, each synced into its parent."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    _make_directories(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    _sync_directory(parent)


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """One writer at a time; what a killed one left half done is removed."""
    path = os.path.abspath(directory)
    try:
        _make_directories(path)
        descriptor = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HaError(
                "archive_busy",
                f"another run writes an archive in {path}",
                evidence={"path": path},
                next_step="Wait until it has ended, and run again.",
            ) from error
        for name in os.listdir(path):
            if name.startswith(".") and _PARTIAL in name:
                shutil.rmtree(os.path.join(path, name), ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _write(target: str, manifest: dict[str, Any], result: Search) -> dict[str, Any]:
    parent, name = os.path.split(target)
    partial = ""
    try:
        partial = tempfile.mkdtemp(prefix=f".{name}{_PARTIAL}", dir=parent)
        manifest = _write_log(partial, manifest, result)
        _read_back(os.path.join(partial, LOG_NAME), manifest)
        manifest = _write_rows(partial, manifest)
        with _new_file(os.path.join(partial, MANIFEST_NAME)) as stream:
            stream.write(json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n")
        _sync_directory(partial)
        os.rename(partial, target)
        partial = ""
        _sync_directory(parent)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            raise _exists(target, "another run made it meanwhile") from error
        raise _unwritable(target, error) from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)
    return manifest


@contextmanager
def _new_file(path: str) -> Iterator[Any]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _description(candidate: Candidate) -> bytes:
    if candidate.prelude.format is None:
        raise HaError(
            "binlog_unreadable",
            f"{candidate.path} does not describe its format",
            evidence={"path": candidate.path},
            next_step="Look at the file; it is torn or damaged at its beginning.",
        )
    return events.format_not_in_use(candidate.prelude.format_event)


def _write_log(directory: str, manifest: dict[str, Any], result: Search) -> dict[str, Any]:
    """Write the binary log file; the manifest with offsets and digests filled in."""
    candidates = {candidate.path: candidate for candidate in result.choice.candidates}
    whole = hashlib.sha256()
    position = 0
    described: Optional[events.FormatDescription] = None
    filled: list[dict[str, Any]] = []
    entries = iter(manifest["transactions"])
    with _new_file(os.path.join(directory, LOG_NAME)) as stream:

        def put(data: bytes) -> None:
            nonlocal position
            stream.write(data)
            whole.update(data)
            position += len(data)

        put(events.MAGIC)
        for path, group in _by_file(result):
            form = candidates[path].prelude.format
            if described is None or form is None or not form.same_format(described):
                put(_description(candidates[path]))
                described = form
            with BinlogFile.open(path) as file:
                for found in group:
                    digest = hashlib.sha256()
                    start = position
                    for piece in file.raw(found.transaction.start, found.transaction.end):
                        digest.update(piece)
                        put(piece)
                    filled.append({**next(entries), "archive_start": start, "sha256": digest.hexdigest()})
        if described is None:
            put(_description(result.choice.newest))
    archived = {"file": LOG_NAME, "size": position, "sha256": whole.hexdigest()}
    return {**manifest, "transactions": filled, "archive": archived}


def _read_back(path: str, manifest: Mapping[str, Any]) -> None:
    """Read what was written as a stranger would: checksums, and the GTIDs at their offsets."""
    with BinlogFile.open(path) as file:
        there = [(str(each.gtid), each.start, each.length) for each in file.transactions() if each.complete]
        ending = file.ending
    asked = [(each["gtid"], each["archive_start"], each["end"] - each["start"]) for each in manifest["transactions"]]
    if there != asked or ending.how != "open" or ending.whole != manifest["archive"]["size"]:
        raise HaError(
            "archive_damaged",
            f"{path} does not read back as it was written",
            evidence={"path": path, "ending": ending.as_result(), "written": len(asked), "read": len(there)},
            next_step="The source changed while it was read, or the disk is faulty: check both, and run again.",
        )
    if _digest(path) != (manifest["archive"]["sha256"], manifest["archive"]["size"]):
        raise HaError(
            "archive_damaged",
            f"{path} does not have the SHA-256 that was written",
            evidence={"path": path},
            next_step="Check the disk, and run again.",
        )


def _write_rows(directory: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """Decode what was archived, out of the archive itself; the manifest with what came of it.

    The rows get what space is left: the raw events are the evidence, and the reserve is not theirs.
    """
    transactions = manifest["transactions"]
    path = os.path.join(directory, ROWS_NAME)
    limit = _free(directory) - RESERVE - _MANIFEST_AT_MOST - 4096 * len(transactions)
    with BinlogFile.open(os.path.join(directory, LOG_NAME)) as log, _new_file(path) as stream:
        written, lines = archive_rows.write(stream, log, transactions, limit=limit)
    wrong = archive_rows.reads_back(path, written)
    if wrong:
        raise HaError(
            "archive_damaged",
            f"{path} does not read back as it was written: {wrong}",
            evidence={"path": path, "why": wrong},
            next_step="Check the disk, and run again.",
        )
    filled = [{**each, "lines": count} for each, count in zip(transactions, lines)]
    return {**manifest, "transactions": filled, "rows": written.as_result()}
