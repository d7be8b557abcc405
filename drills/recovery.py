"""After a run: what only one server has is archived, then everybody follows again.

The same as playbooks/tasks/bring_back.yml, in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.topology.diagnose import LOSSLESS

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from drills.errors import DrillError
from lab.errors import LabError

WITHIN = 150.0
_LOOK_AGAIN = 0.3
LIBRARY = "/usr/lib/lossless-mysql-ha"
ARCHIVES = "/var/lib/lossless-mysql-ha/archive"
_PROGRAM = """
import json, socket, sys, time
from ansible_collections.lossless.mysql_ha.plugins.module_utils.binlog.archive import Request, archive
from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet
asked = json.loads(sys.argv[1])
request = Request(GtidSet.parse(asked["gtids"]), index="/var/lib/mysql/binlog.index", directory=asked["directory"],
                  cluster=asked["cluster"])
print(archive(request, apply=True, now=time.time(), host=socket.gethostname()).path)
"""


@dataclass(frozen=True)
class Returned:
    """``errant`` and ``archives`` by server. An archive: {path, manifest}; the manifest is what stands in its file.

    ``rewound``: the servers among them whose surplus was undone before they started.
    """

    primary: str
    primary_uuid: str
    errant: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rewound: frozenset[str] = frozenset()

    def of(self, server: str) -> dict[str, Any]:
        """How that server came back, as the drill's document has it."""
        if server in self.errant:
            how = "archived and rewound" if server in self.rewound else "archived and cloned"
            return {"how": how, "errant": self.errant[server], "archive": self.archives.get(server)}
        return {"how": "auto-position", "errant": "", "archive": None}


def bring_back(cluster: Cluster, since: float) -> Returned:
    """
    :param since: seconds since the epoch; servers that were rewound after that belong to this run.
    :raises DrillError: the cluster is not lossless again within WITHIN seconds.
    """
    ends = time.monotonic() + WITHIN
    why = "nobody answered"
    errant: dict[str, str] = {}
    paths: dict[str, str] = {}
    while time.monotonic() < ends:
        try:
            observation, diagnosis = cluster.look()
            silent = sorted(set(observation.answers) - set(observation.states))
            if silent:
                why = f"{', '.join(silent)} did not answer"
            elif (
                diagnosis.verdict == LOSSLESS
                and not cluster.not_acknowledging(observation)
                and diagnosis.primary
                and cluster.reached(diagnosis.primary)
            ):
                rewound = _rewound(cluster, diagnosis.primary, since)
                errant.update({server: gtids for server, (gtids, _path) in rewound.items()})
                paths.update({server: path for server, (_gtids, path) in rewound.items()})
                manifests = {server: _manifest(cluster, server, path) for server, path in paths.items()}
                return Returned(diagnosis.primary, diagnosis.primary_uuid, errant, manifests, frozenset(rewound))
            else:
                why = f"{diagnosis.verdict}: {'; '.join(diagnosis.reasons)}"
                cluster.fence_strangers(diagnosis)
                for server, gtids in diagnosis.errant.items():
                    errant[server] = str(gtids)
                    paths[server] = archive(cluster, server, str(gtids))
                cluster.converge(frozenset(diagnosis.errant))
        except (HaError, BenchmarkError, LabError) as error:
            # The server's own unit archives the same at the same time: looked at again.
            why = str(error)
        time.sleep(_LOOK_AGAIN)
    raise DrillError(f"the cluster is not lossless after {WITHIN:g} s: {why}")


def _rewound(cluster: Cluster, primary: str, since: float) -> dict[str, tuple[str, str]]:
    """What was undone, and where it is archived, by server; as the primary's table has it."""
    ask = (
        "SELECT server_uuid, gtids, archive FROM lossless_ha.rejoin WHERE state = 'verified'"
        f" AND detail NOT LIKE 'cloned%' AND written_at >= FROM_UNIXTIME({since:f})"
    )
    rows = cluster.hosts.run(primary, "mysql", "-N", "-B", "-e", ask).splitlines()
    observation, _diagnosis = cluster.look()
    found = {}
    for row in rows:
        uuid, gtids, path = row.split("\t")
        state = observation.by_uuid(uuid)
        if state is not None:
            found[state.name] = (gtids, path)
    return found


def archive(cluster: Cluster, server: str, gtids: str) -> str:
    """Take these transactions out of that server's binary log; returns where they are kept, on its host.

    :raises LabError: not done.
    """
    asked = json.dumps({"gtids": gtids, "directory": ARCHIVES, "cluster": cluster.access.cluster})
    command = ("env", f"PYTHONPATH={LIBRARY}", "python3", "-c", _PROGRAM, asked)
    return cluster.hosts.run(server, *command).splitlines()[-1]


def _manifest(cluster: Cluster, server: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.hosts.run(server, "cat", f"{path}/manifest.json"))
    found.pop("transactions", None)
    return {"path": path, "manifest": found}
