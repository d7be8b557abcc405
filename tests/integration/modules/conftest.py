# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules on one lossless cluster that they share, and a server that is not part of it."""

from __future__ import annotations

from typing import Any

import pytest
import scratch

_made: dict[str, int] = {}


@pytest.fixture
def stray(lossless: Any) -> scratch.Server:
    """A server beside the cluster: empty, read-only, without GTIDs; made again only when others used the servers."""
    server: scratch.Server = lossless.farm.servers[4]
    if _made.get("layout") != lossless.farm.layout:
        server.create(extra="gtid_mode=OFF")
        server.wait()
        _made["layout"] = lossless.farm.layout
    return server
