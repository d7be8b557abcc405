"""Ways to break what the drill checks, each of which it has to notice: a check that can not fail is a defect."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from drills.errors import DrillError
from drills.two_phase import load
from drills.two_phase.binlog import scan
from drills.two_phase.server import Server

ROW_BEHIND_THE_LOG, TRANSACTION_CUT = "row_behind_the_log", "committed_transaction_cut"


def row_behind_the_log(server: Server) -> None:
    """One row goes, and the binary log is not told. The server runs."""
    with server.session(load.SCHEMA) as cursor:
        cursor.execute("SET SESSION sql_log_bin = 0")
        if not cursor.execute("DELETE FROM entry ORDER BY id DESC LIMIT 1"):
            raise DrillError("there is no row to be deleted")


def commit_to_be_cut(server: Server) -> None:
    """A transaction that is wholly committed, and the last one in the binary log. The server runs, nobody writes."""
    with server.session(load.SCHEMA) as cursor:
        cursor.execute(load.PROGRESS, (-1, 1, "mutant"))
        # LOCAL: otherwise this statement would be the last transaction.
        cursor.execute("FLUSH LOCAL ENGINE LOGS")
    # The engine's own commit is flushed about once a second.
    time.sleep(1.5)


def cut_the_last_transaction(server: Server) -> None:
    """The last transaction goes out of the binary log, though the engine has committed it. The server is dead."""
    file = server.binlogs()[-1]
    found = scan(file.read_bytes())
    if not found.last_began:
        raise DrillError(f"there is no transaction in {file.name}")
    os.truncate(file, found.last_began)


AFTER_RECOVERY: dict[str, Callable[[Server], None]] = {ROW_BEHIND_THE_LOG: row_behind_the_log}
NAMES = (ROW_BEHIND_THE_LOG, TRANSACTION_CUT)
