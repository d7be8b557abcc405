"""The drill's writer for clients of a group: no address moves there, so it tries the members in turn.

``python group_writer.py --config FILE``: the configuration of roles/drill/files/writer.py, and ``members``, a list of
[host, port]. A connection that fails, or leads to a member that takes no writes, is followed by the next member.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Before this directory, which has a writer.py, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "roles" / "drill" / "files"))

import pymysql
from drill_common import config_path, load_config
from drill_mysql import Access, discard, open_session
from writer import settings_from, write

READ_ONLY = 1290
Opens = Callable[[str, int, Access], Any]


def in_turn(members: Sequence[tuple[str, int]], access: Access, opens: Opens = open_session) -> Callable[[], Any]:
    """A ``connect`` for the writer's threads: each begins with the member that served it last."""
    turn = threading.local()

    def connect() -> Any:
        """Raises pymysql.err.Error or OSError; the next call tries the next member."""
        number = getattr(turn, "number", 0)
        session = None
        try:
            session = opens(*members[number % len(members)], access)
            with session.cursor() as cursor:
                cursor.execute("SELECT @@GLOBAL.super_read_only")
                if int(cursor.fetchone()[0]):
                    raise pymysql.err.OperationalError(READ_ONLY, "this member takes no writes")
        except (pymysql.err.Error, OSError):
            turn.number = number + 1
            discard(session)
            raise
        return session

    return connect


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    config = load_config(config_path("Write to the primary of a group; log every outcome."))
    members = [(str(host), int(port)) for host, port in config.pop("members")]
    settings = settings_from(config)
    write(settings, stop, in_turn(members, settings.access))
    return 0


if __name__ == "__main__":
    sys.exit(main())
