# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses: what `ip -j` says, what is run, and mysql_vip on a pretended host."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper import address, neighbour, vip
from ansible_collections.lossless.mysql_ha.plugins.module_utils.keeper.address import Assigned, Vip

V4 = Vip(ipaddress.ip_address("10.0.0.100"), 32, "eth0")
V6 = Vip(ipaddress.ip_address("fd00::64"), 128, "eth0")

RECORDED = """[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"link_type":"loopback",
"address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host",
"valid_life_time":4294967295,"preferred_life_time":4294967295}]},
{"ifindex":79,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"link_type":"ether",
"address":"02:42:0a:00:00:0b","addr_info":[
{"family":"inet","local":"10.0.0.11","prefixlen":24,"broadcast":"10.0.0.255","scope":"global","label":"eth0",
"valid_life_time":4294967295,"preferred_life_time":4294967295},
{"family":"inet","local":"10.0.0.100","prefixlen":32,"scope":"global","dynamic":true,"label":"eth0",
"valid_life_time":2,"preferred_life_time":2},
{"family":"inet6","local":"fd00::b","prefixlen":64,"scope":"global","nodad":true,"valid_life_time":4294967295,
"preferred_life_time":4294967295},
{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link","tentative":true,"valid_life_time":4294967295,
"preferred_life_time":4294967295}]},{},
{"ifname":"eth1","flags":["BROADCAST"],"addr_info":[{"family":"inet","local":"10.0.0.12","prefixlen":24}]}]"""
"""Recorded from iproute2 7.3.0, addresses changed; the empty object is what older versions print for filtered links."""


def test_what_ip_prints_is_understood() -> None:
    lo, eth0, eth1 = address.parse_links(RECORDED)
    assert (lo.loopback, eth0.loopback, eth0.up, eth1.up) == (True, False, True, False)
    assert eth0.mac == "02:42:0a:00:00:0b"
    assert eth0.find(V4.address) == Assigned(V4.address, 32, 2)
    assert eth0.find(ipaddress.ip_address("10.0.0.11")) == Assigned(ipaddress.ip_address("10.0.0.11"), 24)
    assert eth0.addresses[-1].tentative
    assert eth1.addresses[0].lifetime is None
    assert address.parse_links("") == ()


@pytest.mark.parametrize("text", ["nonsense", '{"a": 1}', '[{"ifname": "x"}]', "[1]", '[{"ifname":"x","flags":1}]'])
def test_anything_else_is_an_error_and_not_an_empty_host(text: str) -> None:
    with pytest.raises(HaError) as caught:
        address.parse_links(text)
    assert caught.value.code == "ip_not_understood"


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/0", "fd00::/129", "db1", "127.0.0.1", "0.0.0.0", "ff02::1"],
)
def test_what_is_no_address_of_a_host_is_refused(text: str) -> None:
    with pytest.raises(HaError) as caught:
        address.parse(text)
    assert caught.value.code == "bad_address"


def test_addresses_are_read_with_and_without_a_network() -> None:
    assert address.parse("10.0.0.100") == (V4.address, None)
    assert address.parse("fd00::64/64") == (V6.address, 64)


def test_the_interface_is_the_one_that_has_it_or_whose_network_contains_it() -> None:
    links = address.parse_links(RECORDED)
    assert address.choose_interface(links, V4.address) == "eth0"
    assert address.choose_interface(links, ipaddress.ip_address("10.0.0.99")) == "eth0", "eth1 is down"
    assert address.choose_interface(links, V6.address) == "eth0"
    with pytest.raises(HaError) as caught:
        address.choose_interface(links, ipaddress.ip_address("10.0.1.1"))
    assert caught.value.code == "no_interface"
    up = address.parse_links(RECORDED.replace('"flags":["BROADCAST"]', '"flags":["UP"]'))
    with pytest.raises(HaError) as caught:
        address.choose_interface(up, ipaddress.ip_address("10.0.0.99"))
    assert caught.value.code == "several_interfaces"


def test_a_virtual_address_does_not_vouch_for_its_own_network() -> None:
    links = address.parse_links(RECORDED)
    address.require_network(links, V4)
    with pytest.raises(HaError) as caught:
        address.require_network(links, Vip(ipaddress.ip_address("10.9.0.1"), 24, "eth0"))
    assert caught.value.code == "address_not_in_network"
    with pytest.raises(HaError) as caught:
        address.require_network(links, Vip(V4.address, 32, "eth9"))
    assert caught.value.code == "no_such_interface"


def test_commands() -> None:
    assert " ".join(address.add_command(V4, 2)) == ("addr replace 10.0.0.100/32 dev eth0 valid_lft 2 preferred_lft 2")
    assert " ".join(address.add_command(V6, 2)) == (
        "addr replace fd00::64/128 dev eth0 valid_lft 2 preferred_lft 0 nodad"
    )
    assert " ".join(address.add_command(V4, None)) == (
        "addr replace 10.0.0.100/32 dev eth0 valid_lft forever preferred_lft forever"
    )
    assert " ".join(address.remove_command("eth0", Assigned(V4.address, 24))) == "addr del 10.0.0.100/24 dev eth0"


# --- mysql_vip on a pretended host ------------------------------------------------------------------------------------
class Pretended:
    """A host whose `ip` and whose network are here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.ran: list[str] = []
        self.answers: tuple[str, ...] = ()
        self.text = RECORDED
        self.announced = 0
        self.config = directory / "keeper.json"
        self.status = directory / "status.json"
        host = self

        def run_ip(arguments: Sequence[str], *, within: float = 2.0) -> str:
            if "show" in arguments:
                return host.text
            host.ran.append(" ".join(arguments))
            return ""

        class Wire:
            def __init__(self, interface: str, plain: address.Address) -> None:
                pass

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *details: object) -> None:
                pass

            def ask(self, within: float) -> tuple[str, ...]:
                return host.answers

            def announce_for(self, offsets: tuple[float, ...]) -> tuple[str, ...]:
                host.announced += 1
                return ()

        monkeypatch.setattr(address, "run_ip", run_ip)
        monkeypatch.setattr(neighbour, "Wire", Wire)
        monkeypatch.setattr(neighbour, "interface_mac", lambda interface: "02:42:0a:00:00:0b")

    def ask(self, state: str, plain: str = "10.0.0.50", **options: Any) -> vip.Result:
        return vip.converge(vip.Request(state, plain, keeper_config=str(self.config), **options))

    def refused(self, state: str, plain: str = "10.0.0.50", **options: Any) -> HaError:
        with pytest.raises(HaError) as caught:
            self.ask(state, plain, **options)
        assert self.ran == []
        return caught.value

    def keeper(self, *addresses: str, running: bool = True) -> None:
        entries = [{"address": plain, "interface": "eth0"} for plain in addresses]
        self.config.write_text(json.dumps({"addresses": entries, "status_file": str(self.status)}))
        self.status.write_text(json.dumps({"updated_at": time.time() - (0 if running else 60)}))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pretended:
    return Pretended(monkeypatch, tmp_path)


def test_adding_probes_adds_and_announces(host: Pretended) -> None:
    result = host.ask("present")
    assert result.changed
    assert host.ran == ["addr replace 10.0.0.50/32 dev eth0 valid_lft forever preferred_lft forever"]
    assert host.announced == 1
    assert (result.before, result.after) == ("10.0.0.50 not on eth0\n", "10.0.0.50/32 on eth0\n")


def test_check_mode_changes_nothing_and_foresees_the_refusal(host: Pretended) -> None:
    assert host.ask("present", dry=True).changed
    assert host.ask("absent", "10.0.0.100", dry=True).changed
    assert (host.ran, host.announced) == ([], 0)
    host.answers = ("02:00:00:00:00:01",)
    assert host.refused("present", dry=True).code == "address_in_use"


@pytest.mark.parametrize("force", [False, True])
def test_a_strangers_address_is_never_taken(host: Pretended, force: bool) -> None:
    host.answers = ("02:00:00:00:00:01",)
    error = host.refused("present", force=force)
    assert error.code == "address_in_use"
    assert error.evidence["answered_by"] == ["02:00:00:00:00:01"]


def test_a_second_run_changes_nothing(host: Pretended) -> None:
    assert not host.ask("absent").changed
    assert not host.ask("present", "10.0.0.11").changed
    assert not host.ask("present", "10.0.0.11/24").changed
    assert not host.ask("present", "10.0.0.100", lifetime=3).changed
    assert host.ran == []


def test_a_lifetime_is_renewed_when_half_is_over_and_can_be_made_endless(host: Pretended) -> None:
    assert host.ask("present", "10.0.0.100", lifetime=5).changed
    assert host.ask("present", "10.0.0.100").changed
    assert len(host.ran) == 2
    assert host.announced == 0, "it was here already"


def test_another_prefix_length_replaces_the_address(host: Pretended) -> None:
    assert host.ask("present", "10.0.0.100/24").changed
    assert [command.split()[1] for command in host.ran] == ["del", "replace"]


def test_looking_changes_nothing_and_names_everybody_who_answers(host: Pretended) -> None:
    host.answers = ("02:00:00:00:00:01", "02:00:00:00:00:02")
    result = host.ask("probed", "10.0.0.100")
    assert not result.changed
    assert result.values["answered_by"] == ["02:00:00:00:00:01", "02:00:00:00:00:02"]
    assert result.values["held"]
    assert host.ran == []


@pytest.mark.parametrize("running", [True, False])
def test_what_the_keeper_manages_is_not_changed_behind_its_back(host: Pretended, running: bool) -> None:
    host.keeper("10.0.0.50/32", "10.0.0.100", running=running)
    for state, plain in (("present", "10.0.0.50"), ("absent", "10.0.0.100")):
        error = host.refused(state, plain)
        assert error.code == "address_managed_by_keeper"
        assert error.evidence["keeper_running"] is running
        assert "lossless-mysql-ha-keeper" in error.next_step
    assert not host.ask("probed", "10.0.0.50").changed
    assert not host.ask("absent", "10.0.0.50").changed, "what is so already is no change"
    assert host.ask("present", "10.0.0.50", force=True).changed
    assert host.ask("present", "10.0.0.51").changed, "another address is free"


def test_a_keeper_configuration_that_can_not_be_read_protects_everything(host: Pretended) -> None:
    host.config.write_text("{")
    assert host.refused("present").code == "keeper_config_unreadable"


def test_the_last_address_is_not_removed_by_a_slip(host: Pretended) -> None:
    host.text = RECORDED.replace('"local":"10.0.0.100"', '"local":"fe80::5"').replace(
        '"prefixlen":32', '"prefixlen":64'
    )
    assert host.refused("absent", "10.0.0.11").code == "would_cut_off_host"
    assert host.ask("absent", "10.0.0.11", force=True).changed


def link(*cidrs: str) -> address.Link:
    own = tuple(Assigned(i.ip, i.network.prefixlen) for i in map(ipaddress.ip_interface, cidrs))
    return address.Link("eth0", "02:42:0a:00:00:0b", True, False, own)


@pytest.mark.parametrize(
    ("there", "going", "stays"),
    [
        (("10.0.0.11/24", "10.0.0.100/32"), "10.0.0.100", True),
        (("10.0.0.11/24", "10.0.0.100/24"), "10.0.0.100", True),
        (("10.0.0.11/24",), "10.0.0.11", False),
        (("10.0.0.11/24", "fd00::b/64"), "10.0.0.11", False),
        (("10.0.0.11/24", "10.0.0.100/32"), "10.0.0.11", False),
        (("10.0.0.11/32", "10.0.0.100/32"), "10.0.0.100", True),
        (("fd00::b/64", "fe80::1/64", "fd00::64/128"), "fd00::b", False),
        (("fd00::b/64", "fe80::1/64"), "fd00::b", False),
        (("fd00::b/128", "fd00::64/128"), "fd00::64", True),
    ],
)
def test_the_host_keeps_an_address_of_its_own(there: tuple[str, ...], going: str, stays: bool) -> None:
    plain = ipaddress.ip_address(going)
    assert address.stays_reachable(link(*there), Vip(plain, plain.max_prefixlen, "eth0")) is stays
