# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the keeper."""

from __future__ import annotations

import threading
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server import schema
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.session import Session


class Heart:
    """Commits the heartbeat row on one server until that server is gone: what the keeper does, and nothing else."""

    def __init__(self, cluster: Any, number: int, term: int) -> None:
        self._stop = threading.Event()
        self._first = threading.Event()
        member = cluster.members()[number - 1]
        self._thread = threading.Thread(target=self._beat, args=(cluster, member, term), daemon=True)
        self._thread.start()
        assert self._first.wait(10), "no heartbeat was acknowledged"

    def _beat(self, cluster: Any, member: Any, term: int) -> None:
        session = Session.connect(member.name, member.host, member.port, cluster.login, within=5)
        while not self._stop.is_set():
            try:
                schema.write_heartbeat(session, term, within=30)
            except HaError:
                if not session.usable:
                    return
            else:
                self._first.set()
            self._stop.wait(0.3)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(40)
