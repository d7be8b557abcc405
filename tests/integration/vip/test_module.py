# SPDX-License-Identifier: GPL-3.0-or-later
"""``mysql_vip`` as Ansible runs it, inside real hosts: what their kernels, and other hosts, say afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playing import Call, play

from .scratch import V6, Host, Site, eventually

MODULE = "mysql_vip"
NOBODY = "02:00:00:00:00:99"

MODES = [(True, False), (False, False), (False, True)]
"""Check mode or not, force or not: force never overrides an answer."""


def call(host: Host, address: str, state: str = "present", check: bool = False, **options: Any) -> Call:
    given = {"address": address, "state": state, "probe_wait": 0.2, **options}
    return Call(MODULE, given, check, host.container)


def shown(host: Host) -> list[dict[str, Any]]:
    """Every address of the host, as its kernel says."""
    return [info for link in json.loads(host.run("ip", "-j", "addr")) for info in link["addr_info"]]


def lasting(host: Host) -> list[tuple[str, int]]:
    return sorted((info["local"], info["prefixlen"]) for info in shown(host))


def found(host: Host, address: str) -> dict[str, Any]:
    return next((info for info in shown(host) if info["local"] == address), {})


def place(host: Host, address: str) -> str:
    """Where the host's neighbour table says that the address is."""
    return next((row.get("lladdr", "") for row in json.loads(host.run("ip", "-j", "neigh", "show", address))), "")


@pytest.fixture
def free(built: Site) -> Iterator[list[str]]:
    """An address of each family that no keeper manages and nobody has, before and after."""
    addresses = [str(built.v4[101]), str(V6[101])]
    yield addresses
    for host in built.hosts.values():
        for address in addresses:
            host.run("ip", "addr", "flush", "dev", "eth0", "to", address, check=False)
            host.run("ip", "neigh", "del", address, "dev", "eth0", check=False)


def test_an_address_comes_is_announced_is_verified_from_another_host_and_goes(built: Site, free: list[str]) -> None:
    holder, user = built.databases[0], built.app
    before = lasting(holder)
    for address in free:
        user.run("ip", "neigh", "replace", address, "lladdr", NOBODY, "dev", "eth0", "nud", "stale")
    planned, _printed = play(
        *(call(holder, address, check=True) for address in free),
        *(call(holder, address, "absent") for address in free),
    )
    assert [(r["changed"], r["held"]) for r in planned] == [(True, True)] * 2 + [(False, False)] * 2
    assert lasting(holder) == before
    assert [place(user, address) for address in free] == [NOBODY] * 2, "check mode announced it"

    results, _printed = play(*(call(holder, address) for address in free * 2))
    for address, plan, done, again in zip(free, planned, results[:2], results[2:], strict=False):
        bits = 128 if ":" in address else 32
        assert (done["changed"], again["changed"], done["held"]) == (True, False, True), done
        assert (done["interface"], done["mac"], done["lifetime"]) == ("eth0", holder.mac(), None)
        assert done["diff"] == plan["diff"]
        assert done["diff"]["before"] == f"{address} not on eth0\n"
        assert done["diff"]["after"] == f"{address}/{bits} on eth0\n"
        assert found(holder, address)["prefixlen"] == bits
        assert bool(found(holder, address).get("deprecated")) == (":" in address), "replication would leave from it"
        assert place(user, address) == holder.mac(), "who had it elsewhere was told"
        user.run("ping", "-c1", "-W2", address)

    seen, _printed = play(
        *(call(user, address, "probed") for address in free),
        *(call(holder, address, "probed") for address in free),
        *(call(holder, address, "absent", check=True) for address in free),
    )
    assert not any(result["changed"] for result in seen[:4])
    assert [result["answered_by"] for result in seen[:4]] == [[holder.mac()]] * 2 + [[]] * 2
    assert [result["held"] for result in seen] == [False] * 2 + [True] * 2 + [False] * 2
    assert [result["changed"] for result in seen[4:]] == [True] * 2
    assert all(found(holder, address) for address in free), "check mode removed it"

    gone, _printed = play(
        *(call(holder, address, "absent") for address in free * 2),
        *(call(user, address, "probed") for address in free),
    )
    assert [(r["changed"], r["held"]) for r in gone] == [(True, False)] * 2 + [(False, False)] * 4
    assert [r["answered_by"] for r in gone[4:]] == [[]] * 2
    assert lasting(holder) == before


def test_an_address_with_a_lifetime_is_taken_by_the_kernel(built: Site, free: list[str]) -> None:
    host = built.databases[0]
    results, _printed = play(*(call(host, address, lifetime=600) for address in free * 2))
    assert [result["changed"] for result in results] == [True, True, False, False]
    for address in free:
        assert 500 < found(host, address)["valid_life_time"] <= 600
    results, _printed = play(*(call(host, address, lifetime=2) for address in free))
    assert [(result["changed"], result["lifetime"]) for result in results] == [(True, 2)] * 2
    eventually("the kernel removes them", lambda: not any(found(host, address) for address in free), within=5)


def test_an_address_in_use_by_a_stranger_is_not_added(built: Site, free: list[str]) -> None:
    host, stranger, second, witness = built.databases[0], built.app, built.databases[2], built.databases[1]
    before = lasting(host)
    for address in free:
        for owner in (stranger, second) if ":" not in address else (stranger,):
            bits, quick = (128, ["nodad"]) if ":" in address else (32, [])
            owner.run("ip", "addr", "add", f"{address}/{bits}", "dev", "eth0", *quick)
    owners = {free[0]: {stranger.mac(), second.mac()}, free[1]: {stranger.mac()}}
    results, _printed = play(
        *(call(host, address, check=check, force=force) for address in free for check, force in MODES),
        *(call(witness, address, "probed") for address in free),
    )
    for number, result in enumerate(results[: len(MODES) * 2]):
        address = free[number // len(MODES)]
        assert (result["failed"], result.get("code")) == (True, "address_in_use"), result
        assert set(result["evidence"]["answered_by"]) == owners[address]
        assert address in result["msg"] and all(mac in result["msg"] for mac in owners[address])
        assert "Find the host with that MAC" in result["next_step"]
    for address, result in zip(free, results[-2:], strict=True):
        assert set(result["answered_by"]) == owners[address], "everybody who claims it is named"
    assert lasting(host) == before


def test_bad_input_is_refused_and_changes_nothing(built: Site, free: list[str]) -> None:
    host = built.databases[0]
    own = host.address
    cases = [
        ("bad_address", "10.0.0.300", {}),
        ("bad_address", f"{free[0]}/99", {}),
        ("bad_address", "224.0.0.1", {}),
        ("no_such_interface", free[0], {"interface": "eth9"}),
        ("no_such_interface", free[0], {"interface": "eth9", "state": "absent"}),
        ("no_such_interface", free[1], {"interface": "eth9", "state": "probed"}),
        ("no_interface", "192.0.2.1", {}),
        ("address_not_in_network", "192.0.2.1", {"interface": "eth0"}),
        ("bad_address", "127.0.0.9", {"interface": "lo"}),
        ("would_cut_off_host", own, {"state": "absent"}),
    ]
    before = lasting(host)
    results, _printed = play(*(call(host, address, **options) for _code, address, options in cases))
    for (code, address, options), result in zip(cases, results, strict=True):
        assert (result["failed"], result.get("code")) == (True, code), (address, result)
        assert result["next_step"] and result["evidence"]
        assert options.get("interface", address) in result["msg"] or address in result["msg"]
    assert lasting(host) == before


def test_an_address_of_the_keeper_is_left_to_it(site: Site, free: list[str]) -> None:
    holder, replica = site.databases[:2]
    replica.put("/tmp/kept.json", json.dumps({"addresses": [{"address": free[0]}], "status_file": "/run/none.json"}))
    replica.put("/tmp/torn.json", "{")
    before = lasting(holder), lasting(replica)
    kept = {"keeper_config": "/etc/keeper.json"}
    cases = [
        call(holder, site.vips[0], "absent", check=True, **kept),
        call(holder, site.vips[0], "absent", **kept),
        call(replica, site.vips[0], "present", check=True, **kept),
        call(replica, site.vips[1], "present", **kept),
        # The keeper's lease on it has an end, and this asks for none.
        call(holder, site.vips[0], "present", **kept),
    ]
    results, _printed = play(
        *cases,
        call(replica, free[0], keeper_config="/tmp/kept.json"),
        call(replica, free[0], keeper_config="/tmp/torn.json"),
    )
    for result in results[: len(cases)]:
        assert (result["failed"], result.get("code")) == (True, "address_managed_by_keeper"), result
        assert result["evidence"]["keeper_running"] is True
        assert "switch over" in result["next_step"]
    idle, torn = results[len(cases) :]
    assert (idle["code"], idle["evidence"]["keeper_running"]) == ("address_managed_by_keeper", False)
    assert "systemctl status" in idle["next_step"]
    assert torn["code"] == "keeper_config_unreadable" and "/tmp/torn.json" in torn["msg"]
    assert (lasting(holder), lasting(replica)) == before
