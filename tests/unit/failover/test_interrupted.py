# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that was interrupted is found by whoever runs next on that host, of whatever user."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import interrupted
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.interrupted import QUIET, Interrupted
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import END, Journal

LATER = 1e9
"""Long after everything that was written."""


def left(directory: Path, run_id: str = "run-1", *what: str) -> Journal:
    """A run that died: its lock fell with its process."""
    journal = Journal(str(directory), "ledger", run_id)
    journal.acquire()
    for each in what or ("begin", "freeze"):
        journal.write(each, names=["db2"], old_primary="db1")
    journal.release()
    return journal


def looked(directory: Path, wall: float = LATER) -> Any:
    return Interrupted(str(directory), wall=lambda: wall).of("ledger")


# --- looking from outside --------------------------------------------------------------------------------------------
def test_a_run_that_died_is_found(tmp_path: Path) -> None:
    journal = left(tmp_path)
    found = looked(tmp_path)
    assert (found.run_id, found.path, found.stopped_receivers()) == ("run-1", journal.path, ("db2",))


@pytest.mark.parametrize("what", [("begin", END), ()])
def test_one_that_ended_or_has_not_begun_is_not(tmp_path: Path, what: tuple[str, ...]) -> None:
    if what:
        left(tmp_path, "run-1", *what)
    else:
        (tmp_path / "ledger").mkdir()
        (tmp_path / "ledger" / "run-1.jsonl").write_text('{"what": "be')
    assert looked(tmp_path) is None


def test_where_nobody_ever_ran_there_is_none_and_nothing_is_made(tmp_path: Path) -> None:
    assert looked(tmp_path / "journal") is None
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_alive_is_left_alone_however_long_it_takes(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), "ledger", "run-1")
    journal.acquire()
    journal.write("begin")
    assert looked(tmp_path) is None
    journal.release()
    assert looked(tmp_path) is not None


@pytest.mark.parametrize(("after", "found"), [(QUIET - 1, False), (QUIET + 1, True), (1 - QUIET, False)])
def test_who_interrupted_a_run_may_be_about_to_run_it_again(tmp_path: Path, after: float, found: bool) -> None:
    written = os.stat(left(tmp_path).path).st_mtime
    assert (looked(tmp_path, written + after) is not None) is found


def test_a_look_is_in_nobodys_way_and_changes_nothing(tmp_path: Path) -> None:
    journal = left(tmp_path)
    with open(journal.path, "a") as torn:
        torn.write('{"what": "pro')
    before = Path(journal.path).read_bytes()
    assert looked(tmp_path) is not None
    assert Path(journal.path).read_bytes() == before
    with open(tmp_path / "ledger" / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_finished_run_after_it_does_not_hide_it_and_what_ended_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path, "run-1")
    left(tmp_path, "run-2", "begin", END)
    read: list[str] = []
    real = interrupted.journal.read_run
    monkeypatch.setattr(interrupted.journal, "read_run", lambda place, name: (read.append(name), real(place, name))[1])
    looker = Interrupted(str(tmp_path), wall=lambda: LATER)
    for _time in range(2):
        found = looker.of("ledger")
        assert found is not None and found.run_id == "run-1"
    assert read == ["run-2.jsonl", "run-1.jsonl", "run-1.jsonl"]


def test_a_journal_that_says_nothing_is_named(tmp_path: Path) -> None:
    with open(left(tmp_path).path, "a") as out:
        out.write("garbage\n")
    with pytest.raises(HaError) as caught:
        looked(tmp_path)
    assert caught.value.code == "journal_damaged"


# --- two users of one host -------------------------------------------------------------------------------------------
USER, GROUP = 54321, 54322
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to be somebody else")

RUN = """
import json, os, sys
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.journal import END, Journal
user, directory, run_id, *what = sys.argv[1:]
os.umask(0o077)
fchmod = os.fchmod
def restricted(handle, mode):
    # As the manager's unit has it: RestrictSUIDSGID.
    if mode & 0o6000:
        raise PermissionError(1, "Operation not permitted")
    fchmod(handle, mode)
os.fchmod = restricted
if int(user):
    os.setgroups([])
    os.setgid({group})
    os.setuid(int(user))
journal = Journal(directory, "ledger", run_id)
try:
    journal.acquire()
    found = journal.unfinished()
    if found:
        journal.close_other(found, "undone")
    for each in what:
        journal.write(each, names=["db2"])
    print(json.dumps(found.run_id if found else None))
except HaError as error:
    print(json.dumps([error.code, error.message]))
"""


def run_as(user: int, directory: Path, run_id: str, *what: str) -> Any:
    """A run of that user, which takes up what it finds and dies after these records."""
    code = RUN.format(group=GROUP)
    done = subprocess.run(
        [sys.executable, "-c", code, str(user), str(directory), run_id, *what],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """As the role makes it."""
    for above in (*tmp_path.parents[:2], tmp_path):
        above.chmod(0o755)
    made = tmp_path / "journal"
    made.mkdir()
    os.chown(made, 0, GROUP)
    made.chmod(0o2770)
    return made


@as_root
@pytest.mark.parametrize("first", [0, USER], ids=["of a module as root", "of the manager"])
def test_an_interrupted_run_is_taken_up_by_the_other_user(shared: Path, first: int) -> None:
    second = USER - first
    assert run_as(first, shared, "run-1", "begin", "freeze") is None
    assert looked(shared).run_id == "run-1"
    assert run_as(second, shared, "run-2", "begin", "promote") == "run-1"
    assert run_as(first, shared, "run-3", "begin", END) == "run-2"
    assert run_as(second, shared, "run-4") is None
    for path in (shared / "ledger").iterdir():
        about = path.stat()
        assert (stat.S_IMODE(about.st_mode), about.st_gid) == (0o660, GROUP), path
    place = (shared / "ledger").stat()
    assert (stat.S_IMODE(place.st_mode) & 0o777, place.st_gid) == (0o770, GROUP)


@as_root
def test_what_a_module_left_before_the_role_shared_the_directory_is_shared_with_it(shared: Path) -> None:
    """The role gives what is there to the group; the next run of its owner does the rest."""
    shared.chmod(0o700)
    assert run_as(0, shared, "run-1", "begin") is None
    assert run_as(USER, shared, "run-2")[0] == "journal_unwritable"
    shared.chmod(0o2770)
    for path, mode in ((shared / "ledger", 0o770), *((p, 0o660) for p in (shared / "ledger").iterdir())):
        os.chown(path, 0, GROUP)
        path.chmod(mode)
    assert run_as(USER, shared, "run-2", "begin") == "run-1"
    assert run_as(0, shared, "run-3", "begin") == "run-2"
    assert run_as(USER, shared, "run-4") == "run-3"


@as_root
def test_a_journal_that_can_not_be_read_is_no_journal_that_is_not_there(shared: Path) -> None:
    run_as(0, shared, "run-1", "begin")
    (shared / "ledger" / "run-1.jsonl").chmod(0o600)
    code, message = run_as(USER, shared, "run-2", "begin")
    assert code == "journal_unreadable" and "run-1.jsonl" in message


LOOK = """
import json, os, sys
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.interrupted import Interrupted
os.setgroups([])
os.setgid({group})
os.setuid({user})
try:
    found = Interrupted(sys.argv[1], wall=lambda: 1e9).of("ledger")
    print(json.dumps(found.run_id if found else None))
except HaError as error:
    print(json.dumps([error.code, error.evidence["path"]]))
"""


@as_root
def test_what_would_stop_every_run_is_seen_before_there_is_one(shared: Path) -> None:
    def look() -> Any:
        done = subprocess.run(
            [sys.executable, "-c", LOOK.format(group=GROUP, user=USER), str(shared)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert look() is None
    run_as(0, shared, "run-1", "begin")
    assert look() == "run-1"
    place = shared / "ledger"
    for path, mode, code in (
        (place / "run-1.jsonl", 0o600, "journal_unreadable"),
        (place / "lock", 0o640, "journal_unwritable"),
        (place, 0o750, "journal_unwritable"),
        (shared, 0o2700, "journal_unwritable"),
    ):
        before = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        assert look()[0] == code, path
        path.chmod(before)
    place.rename(shared / "another")
    shared.chmod(0o2750)
    assert look() == ["journal_unwritable", str(shared)]


@pytest.mark.parametrize("what", ["lock", "run-2.jsonl", "run-1.jsonl"])
@pytest.mark.parametrize("how", [os.symlink, os.link, "pipe"])
def test_what_was_put_in_the_place_of_a_file_is_not_written_to(tmp_path: Path, what: str, how: Any) -> None:
    """The manager's user may write in the directory that root's runs use: it must not gain more by that."""
    precious = tmp_path / "precious"
    precious.write_text('{"what": "begin"}\n{"what')
    left(tmp_path, "run-1")
    place = tmp_path / "ledger" / what
    place.unlink(missing_ok=True)
    if how == "pipe":
        os.mkfifo(place)
    else:
        how(precious, place)
    journal = Journal(str(tmp_path), "ledger", "run-2")
    with pytest.raises(HaError) as caught:
        journal.acquire()
        found = journal.unfinished()
        assert found is not None
        journal.write("begin")
    assert caught.value.code in ("journal_unwritable", "journal_unreadable")
    journal.release()
    assert precious.read_text() == '{"what": "begin"}\n{"what'


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "ledger")
    journal = Journal(str(tmp_path), "ledger", "run-1")
    with pytest.raises(HaError) as caught:
        journal.acquire()
    assert caught.value.code == "journal_unwritable" and not list((tmp_path / "elsewhere").iterdir())
