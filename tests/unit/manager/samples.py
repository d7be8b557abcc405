# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration to begin with."""

from __future__ import annotations

import copy
from typing import Any

_CLUSTER: dict[str, Any] = {
    "name": "ledger",
    "members": [
        {"name": "db1", "host": "10.0.0.1", "zone": "a"},
        {"name": "db2", "host": "10.0.0.2", "zone": "b", "priority": 200},
        {"name": "db3", "host": "10.0.0.3", "zone": "a", "never": True},
    ],
    "user": "lossless_manager",
    "password": "canary-login",
    "ca": "/etc/lossless-mysql-ha/tls/ca.pem",
    "replication": {"password": "canary-replication"},
    "hooks": {
        "before": [{"name": "veto", "run": ["/bin/true"], "must_succeed": True}],
        "after": [{"name": "awx", "url": "https://awx.example/hook?token=canary-url"}],
    },
    "maintenance": [
        {"reason": "disks", "from": "2026-11-21T22:00:00Z", "until": "2026-11-22T02:00:00Z"},
        {"reason": "nightly", "from": "22:00", "until": "02:00", "days": ["sat", "fri"]},
    ],
}


def manager_file(**top: Any) -> dict[str, Any]:
    return {"token": "canary-token", "clusters": [cluster_file()], **top}


def cluster_file(**changes: Any) -> dict[str, Any]:
    values = {**copy.deepcopy(_CLUSTER), **changes}
    return {key: value for key, value in values.items() if value is not None}
