# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-fencing on real servers: an application that uses the primary's own address, which no lease takes from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from .scratch import Host, Site, eventually
from .test_keeper import BOUND, CUT_OFF, WITHIN, both, measured

# Who would follow cannot, and who would ask how they are cannot either.
CUT_OFF_ENTIRELY = """table inet cut {
 chain inbound {
  type filter hook input priority 0
  tcp sport 3306 drop
  tcp dport 3306 drop
 }
}
"""

Record = Callable[[str, object], None]


def acknowledged(events: list[dict[str, Any]], after: float = 0.0) -> list[int]:
    return [e["number"] for e in events if e["what"] == "acknowledged" and e["at"] >= after]


def lacking(site: Site, numbers: list[int], on: Host) -> set[int]:
    there = {int(line) for line in on.sql("SELECT n FROM shop.bought").split()}
    return set(numbers) - there


def offline(host: Host) -> bool:
    return host.sql("SELECT @@offline_mode") == "1"


def no_password(host: Host) -> None:
    for text in (host.journal(), str(host.status()), host.run("ps", "axww")):
        assert "k'\"" not in text


def test_a_hung_primary_that_wakes_up_deposed_is_fenced(site: Site, record_property: Record) -> None:
    old, new = site.databases[:2]
    client = site.buy(old)
    client.meets("acknowledged")
    old.signal("STOP", "mysqld")
    eventually("it has lost its lease", lambda: both(site, []))
    site.promote(new)
    eventually("db2 takes the address", lambda: all(new.has(vip) for vip in site.vips), within=WITHIN)
    woken = time.time()
    old.signal("CONT", "mysqld")
    eventually("the status says so", lambda: old.status()["fence"]["fenced"], within=WITHIN)
    assert offline(old)
    ended, refused = client.meets("error", woken), client.meets("refused", woken, 3032)
    client.goes_on()
    events = client.end()
    measured(record_property, "from SIGCONT to the end of the session", ended - woken, BOUND)
    measured(record_property, "from SIGCONT to 3032", refused - woken, BOUND)
    # One commit was on its way when it hung; its acknowledgement may have arrived before anything was frozen.
    late = acknowledged(events, after=woken)
    assert len(late) <= 1 and lacking(site, late, new) == set(), "nobody reads OK for what only a deposed primary has"
    assert not [e for e in events if e["what"] == "connected" and e["at"] > refused], "nor get in again"
    assert lacking(site, acknowledged(events), new) == set()
    fence = old.status()["fence"]
    assert (fence["action"], fence["reason_code"]) == ("fence", "deposed")
    assert fence["deposed_by"] in ("db2", "db3")
    assert (fence["deposed_in_term"], fence["primary_uuid"]) == (site.term, site.uuid(new))
    assert "fencing the local server" in old.journal()
    assert not any(old.has(vip) for vip in site.vips)
    assert not offline(new)
    assert not offline(site.databases[2])
    no_password(old)
    # The heartbeat that hung waits for an acknowledgement that never comes: it keeps super_read_only off.
    assert "restart mysqld" in fence["waits"] or fence["super_read_only"]
    old.stop_keeper()
    old.start_keeper()
    eventually("a keeper that starts says the same", lambda: old.status()["fence"]["fenced"], within=WITHIN)


@pytest.mark.parametrize(
    ("rules", "code"),
    [(CUT_OFF, "lease_expired"), (CUT_OFF_ENTIRELY, "peers_silent")],
    ids=["receivers", "everything"],
)
def test_without_acknowledgers_sessions_end_and_the_same_primary_goes_on_by_itself(
    site: Site, record_property: Record, rules: str, code: str
) -> None:
    old = site.databases[0]
    client = site.buy(old)
    client.meets("acknowledged")
    for replica in site.databases[1:]:
        replica.run("nft", "-f", "-", stdin=rules)
    cut = time.time()
    ended = client.meets("error", cut)
    eventually("it ends sessions", lambda: old.status()["fence"]["sessions_ended"] >= 1, within=WITHIN)
    client.meets("error", cut + 4)  # and it does not cease to
    assert old.status()["fence"]["reason_code"] == code
    heals = time.time()
    for replica in site.databases[1:]:
        replica.run("nft", "flush", "ruleset")
    healed = time.time()
    eventually("it leaves sessions alone", lambda: old.status()["fence"]["action"] == "nothing", within=WITHIN)
    client.meets("acknowledged", healed)
    events = client.end()
    measured(record_property, "from the cut to the end of a session", ended - cut, BOUND + 0.5)
    quiet = [e for e in events if e["what"] == "acknowledged" and cut + 0.5 < e["at"] < heals]
    assert quiet == [], "nobody is told OK without an acknowledger"
    assert 3032 not in {e["error"] for e in events}, "nobody was kept out, though some were ended at once"
    assert not offline(old)
    assert lacking(site, acknowledged(events), old) == set()
    assert "ending the sessions of applications" in old.journal()
    assert "sessions are left alone again" in old.journal()
    no_password(old)


def test_stopped_receivers_are_no_deposition_and_an_undone_freeze_leaves_nothing_behind(
    site: Site, record_property: Record
) -> None:
    old = site.databases[0]
    client = site.buy(old)
    client.meets("acknowledged")
    frozen = time.time()
    for replica in site.databases[1:]:
        replica.sql("STOP REPLICA IO_THREAD")
    eventually("it knows why", lambda: old.status()["fence"]["reason_code"] == "frozen", within=WITHIN)
    assert old.status()["fence"]["action"] == "end_sessions"
    assert not offline(old)
    ended = client.meets("error", frozen)
    for replica in site.databases[1:]:
        replica.sql("START REPLICA IO_THREAD")
    thawed = time.time()
    eventually("it leaves sessions alone", lambda: old.status()["fence"]["action"] == "nothing", within=WITHIN)
    client.meets("acknowledged", thawed)
    events = client.end()
    measured(record_property, "from the freeze to the end of a session", ended - frozen)
    assert lacking(site, acknowledged(events), old) == set()
    assert not offline(old)


def test_a_keeper_that_restarts_ends_no_session(site: Site, record_property: Record) -> None:
    old = site.databases[0]
    client = site.buy(old)
    client.meets("acknowledged")
    old.stop_keeper()
    old.start_keeper()
    eventually("it has the lease again", lambda: old.status()["fence"]["reason_code"] == "lease_young", within=WITHIN)
    client.goes_on()
    events = client.end()
    assert [e["what"] for e in events if e["what"] != "acknowledged"] == ["connected"]


def test_a_replica_and_a_primary_that_was_closed_are_left_alone(site: Site, record_property: Record) -> None:
    old, new = site.databases[:2]
    assert new.status()["fence"]["reason_code"] == "not_primary"
    old.sql("SET GLOBAL super_read_only=1; SET GLOBAL rpl_semi_sync_source_enabled=0;")
    site.promote(new)
    eventually("db2 takes the address", lambda: all(new.has(vip) for vip in site.vips), within=WITHIN)
    assert old.status()["fence"]["action"] == "nothing"
    assert not offline(old)
    assert "fencing" not in old.journal()
    assert "ending" not in old.journal() + new.journal()
