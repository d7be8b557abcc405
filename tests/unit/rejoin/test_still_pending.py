# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a rewound server has to be compared: until it was, or until a clone has replaced its data. And whether the
start of a process is the end of a clone."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.rejoin import follow, record
from ansible_collections.lossless.mysql_ha.plugins.module_utils.server.state import VERIFIED

OWN, OTHER = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4f22fa47-71ca-11e1-9e33-c80aa9429562"
DONE = record.Record(record.CUTTING, OWN, OTHER, 4, f"{OWN}:5", "/b/binlog.1", 4, 9, "/a", "/k", "00", 1000.0)


@pytest.mark.parametrize(
    ("done", "cloned_at", "pending"),
    [
        (DONE, 0.0, True),
        (DONE, 999.0, True),
        (DONE, 1001.0, False),
        (dataclasses.replace(DONE, state=VERIFIED), 0.0, False),
        (dataclasses.replace(DONE, server_uuid=OTHER), 0.0, False),
        (None, 0.0, False),
    ],
    ids=["never cloned", "cloned before", "cloned since", "compared", "of another server", "never rewound"],
)
def test_still_pending(done: Optional[record.Record], cloned_at: float, pending: bool) -> None:
    assert (follow.still_pending(done, OWN, cloned_at) is not None) == pending


def test_when_a_process_began(tmp_path: Path) -> None:
    file = tmp_path / "mysqld.pid"
    file.write_text(f"{os.getpid()}\n")
    began = follow._process_began(str(file))
    assert began is not None and time.time() - 86400 < began < time.time()
    assert follow._process_began(str(tmp_path / "none")) is None
    file.write_text("none")
    assert follow._process_began(str(file)) is None
