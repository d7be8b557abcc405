"""One failover, in a process of its own that can be started beforehand, stand anywhere in the network, and be killed.

``python -m drills.actor``: says ``ready``, reads one line, a JSON object, acts, and says what came of it in one line.

    mode        emergency or planned
    journal     directory of the journals: two control hosts have two
    point       fault point at which this process kills itself, or ""

Answer: {"report": ...} (``failover.procedure.Report``) or {"error": {"code", "message", "next_step", "evidence"}}.
A process that killed itself says nothing. How to reach the cluster is what Ansible said to the session's runner
(``access.known``).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover import faults
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.plan import Request
from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.run import fail_over

from benchmarks import access


def act(order: dict[str, Any]) -> dict[str, Any]:
    reach = access.known()
    if order["point"]:
        os.environ[faults.VARIABLE] = order["point"]
    try:
        report = fail_over(
            reach.members,
            reach.admin,
            reach.replication,
            Request(order["mode"]),
            cluster=reach.cluster,
            journal_directory=order["journal"],
            acknowledgement=reach.acknowledgement,
        )
    except HaError as error:
        return {
            "error": {
                "code": error.code,
                "message": error.message,
                "next_step": error.next_step,
                "evidence": error.evidence,
            }
        }
    return {"report": report.as_result()}


def main() -> int:
    print("ready", flush=True)
    line = sys.stdin.readline()
    if line:
        print(json.dumps(act(json.loads(line)), default=str), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
