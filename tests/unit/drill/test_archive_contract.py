# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's report reads the archive's own manifest: what is written there is what is looked for here."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import samples
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog import archive
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
from report_findings import Drill, errant_found_archived_named

from tests.unit.binlog.samples import SERIES, UUID, content

SURPLUS = f"{UUID}:5:13"


def test_a_real_manifest_names_what_was_errant(tmp_path: Path) -> None:
    for number, name in enumerate(SERIES, 1):
        (tmp_path / f"binlog.{number:06}").write_bytes(content(name))
    (tmp_path / "binlog.index").write_text("".join(f"./binlog.{number:06}\n" for number in range(1, len(SERIES) + 1)))
    request = archive.Request(GtidSet.parse(SURPLUS), str(tmp_path / "binlog.index"), str(tmp_path / "kept"))
    done = archive.archive(request, apply=True, now=0.0, host="db1")
    manifest = json.loads(Path(done.values["manifest"]).read_text())
    document = copy.deepcopy(samples.document())
    document["rejoin"] = {"how": "cloned", "errant": SURPLUS, "archive": {"path": done.path, "manifest": manifest}}
    assert errant_found_archived_named(Drill(document)).holds is True
    document["rejoin"]["errant"] = f"{UUID}:5:12-13"
    assert errant_found_archived_named(Drill(document)).holds is False
