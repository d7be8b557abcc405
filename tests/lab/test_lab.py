"""The lab itself: what is pure here as unit tests, the hosts and the faults against the running lab (marker lab)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab import collection_tree, config, engine, faults, hosts, image, inventory, mirror, network, verdict
from lab.errors import LabError
from lab.network import Addresses
from lab.process import wait_until

WHERE = Addresses(v4=IPv4Network("10.213.7.0/24"), v6=network.ula("x"))


def conf(tmp_path: Path, **environ: str) -> config.Config:
    return config.load(environ, tmp_path)


# --- configuration --------------------------------------------------------------------------------------------------


def test_two_clones_have_different_labs(tmp_path: Path) -> None:
    one, two = config.load({}, tmp_path / "one"), config.load({}, tmp_path / "two")
    assert one.name != two.name
    assert one.path_hash != two.path_hash
    assert one.container("db1") != two.container("db1")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert conf(tmp_path, LAB_NAME="", LAB_DB_HOSTS="") == conf(tmp_path)


def test_a_named_lab_has_a_state_of_its_own(tmp_path: Path) -> None:
    assert conf(tmp_path).state == tmp_path / "build/lab"
    assert conf(tmp_path, LAB_NAME="big").state == tmp_path / "build/lab-big"


@pytest.mark.parametrize(
    "environ",
    [
        {"LAB_DB_HOSTS": "0"},
        {"LAB_DB_HOSTS": "10"},
        {"LAB_DB_HOSTS": "three"},
        {"LAB_DISK": "usb"},
        {"LAB_NAME": "a b"},
        {"LAB_ZONES": "db1"},
        {"LAB_ZONES": "app1=a"},
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_the_variable(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(LabError, match=next(iter(environ))) as caught:
        config.load(environ, tmp_path)
    assert "\n" not in str(caught.value)


def test_zones(tmp_path: Path) -> None:
    chosen = conf(tmp_path, LAB_ZONES="db1=a/one, db2=b/two,db3=c")
    assert [chosen.place(host) for host in chosen.db_names] == [
        config.Place("a", "one"),
        config.Place("b", "two"),
        config.Place("c", "one"),
    ]
    assert conf(tmp_path).place("db3") == config.Place("c", "one")


# --- addresses ------------------------------------------------------------------------------------------------------


def test_the_first_free_subnet_is_taken() -> None:
    taken = [IPv4Network("10.213.0.0/24"), IPv4Network("10.213.1.128/25"), IPv4Network("192.168.0.0/16")]
    assert network.free_subnets(taken)[0] == IPv4Network("10.213.2.0/24")


def test_no_subnet_is_free_when_a_route_covers_the_pool() -> None:
    assert network.free_subnets([IPv4Network("10.0.0.0/8")]) == []


def test_routes_are_read_and_the_default_route_takes_nothing() -> None:
    text = '[{"dst":"default"},{"dst":"10.213.0.0/24"},{"dst":"10.9.9.9"}]'
    assert network.routed(text) == [IPv4Network("10.213.0.0/24"), IPv4Network("10.9.9.9/32")]


def test_nobody_shares_an_address_and_the_virtual_one_is_nobodys() -> None:
    everybody = [f"db{n}" for n in range(1, config.MAX_DB_HOSTS + 1)] + ["control1", "app1"]
    found = [str(WHERE.host(host)) for host in everybody] + [str(WHERE.gateway), *WHERE.vips]
    assert len(set(found)) == len(found)
    assert str(WHERE.host("db1")) == "10.213.7.11"
    assert WHERE.mac("db1") == "02:42:0a:d5:07:0b"


def test_the_ula_is_one_and_belongs_to_the_name() -> None:
    assert network.ula("a") == network.ula("a") != network.ula("b")
    assert network.ula("a").prefixlen == 64
    assert str(network.ula("a")).startswith("fd")


@pytest.mark.parametrize("text", ["ten", "10.0.0.1/24", "10.0.0.0/25"])
def test_a_wrong_subnet_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="LAB_SUBNET"):
        network.wanted_subnet(text)


def test_an_unknown_host_has_no_address() -> None:
    with pytest.raises(LabError, match="web1"):
        WHERE.host("web1")


# --- image, mirror, inventory, tree, verdict ------------------------------------------------------------------------


def test_the_image_is_rebuilt_when_and_only_when_the_recipe_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "RECIPE", tmp_path)
    (tmp_path / "packages.txt").write_text("systemd\n")
    before = image.tag(conf(tmp_path))
    assert image.tag(conf(tmp_path, LAB_MIRROR="http://elsewhere/debian")) == before
    assert image.tag(conf(tmp_path, LAB_BASE_IMAGE="debian:sid")) != before
    (tmp_path / "packages.txt").write_text("systemd\nzstd\n")
    assert image.tag(conf(tmp_path)) != before


def test_the_mirror_is_the_main_archive_whatever_else_apt_knows() -> None:
    rows = [
        "https://vendor.example/apt|tool|Vendor",
        "http://one.example/debian-security|bookworm-security|Debian-Security",
        "http://two.example/debian/|bookworm|Debian",
    ]
    assert mirror.choose(rows) == "http://two.example/debian"


def test_the_mirror_is_found_before_the_first_apt_update() -> None:
    rows = ["http://one.example/debian-security/|bookworm-security|", "http://one.example/debian/|bookworm|"]
    assert mirror.choose(rows) == "http://one.example/debian"


def test_without_a_debian_archive_the_error_says_what_to_set() -> None:
    with pytest.raises(LabError, match="LAB_MIRROR"):
        mirror.choose(["https://vendor.example/apt|tool|Vendor"])


def test_the_inventory_has_groups_places_and_virtual_addresses(tmp_path: Path) -> None:
    chosen = conf(tmp_path, LAB_ZONES="db2=b/two")
    data = inventory.build(chosen, WHERE, chosen.host_names)["all"]
    assert list(data["children"]["mysql"]["hosts"]) == ["db1", "db2", "db3"]
    assert (
        data["children"]["mysql"]["hosts"]["db2"] | {"zone": "b", "city": "two"}
        == (data["children"]["mysql"]["hosts"]["db2"])
    )
    assert list(data["children"]["mysql_control"]["hosts"]) == ["control1"]
    assert list(data["children"]["mysql_app"]["hosts"]) == ["app1"]
    assert data["vars"]["mysql_ha_vip_addresses"] == WHERE.vips
    assert len(WHERE.vips) == 2


def test_without_ipv6_there_is_one_virtual_address(tmp_path: Path) -> None:
    where = Addresses(v4=WHERE.v4, v6=None)
    data = inventory.build(conf(tmp_path), where, ["db1"])["all"]
    assert data["vars"]["mysql_ha_vip_addresses"] == ["10.213.7.100"]
    assert data["vars"]["lab_ipv6"] is False


def test_the_inventory_is_written_with_group_variables_beside_it(tmp_path: Path) -> None:
    chosen = conf(tmp_path)
    for _again in range(2):
        inventory.write(chosen, WHERE, chosen.host_names)
    assert chosen.inventory.read_text().startswith("---\n")
    assert (chosen.inventory.parent / "group_vars" / "all.yml").exists()


def test_the_collection_tree_leads_back_to_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "galaxy.yml").touch()
    for _again in range(2):
        root = collection_tree.ensure(tmp_path)
    assert (root / "ansible_collections/lossless/mysql_ha/galaxy.yml").exists()


def test_the_verdict_comes_last(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"verdict": "PASS", "lost_commits": 0, "phases": []}')
    assert verdict.render(verdict.load(report)).splitlines() == ["  lost commits: 0", "VERDICT: PASS"]
    with pytest.raises(LabError, match="make demo"):
        verdict.load(tmp_path / "none.json")


def test_a_host_is_healed_before_what_is_inside_it() -> None:
    order = list(faults.FAULTS)
    assert order[:2] == ["host_frozen", "host_gone"]
    assert all(fault.description for fault in faults.FAULTS.values())
    with pytest.raises(LabError, match="there are:"):
        faults.find("earthquake")


def test_every_fault_is_in_the_readme() -> None:
    text = (config.CHECKOUT / "lab" / "README.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)", text, re.MULTILINE)) >= set(faults.FAULTS)


# --- the engine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that passes for an engine, in a machine-wide directory of the test's own; none answers."""
    monkeypatch.setattr(engine, "RUN_DIR", tmp_path)
    monkeypatch.setattr(engine, "connect", lambda: None)
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts engines")
def test_the_engine_that_a_lab_started_is_stopped(stand_in: subprocess.Popen[bytes], tmp_path: Path) -> None:
    began = Path(f"/proc/{stand_in.pid}/stat").read_text().rpartition(")")[2].split()[19]
    (tmp_path / "dockerd.pid").write_text(f"{stand_in.pid} {began}\n")
    assert engine.started_by_lab() == stand_in.pid
    engine.stop_ours()
    assert engine.started_by_lab() is None
    assert not (tmp_path / "dockerd.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts engines")
def test_a_process_that_only_has_the_same_number_is_left_alone(
    stand_in: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "dockerd.pid").write_text(f"{stand_in.pid} 1\n")
    engine.stop_ours()
    assert stand_in.poll() is None


# --- the running lab ------------------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[faults.Lab]:
    try:
        opened = faults.open_lab(config.load())
    except LabError as error:
        pytest.skip(str(error))
    yield opened
    faults.heal(opened, "app1")
    faults.heal(opened, "control1")


@pytest.mark.lab
def test_every_host_runs_without_a_failed_unit_of_the_lab(lab: faults.Lab) -> None:
    rows = hosts.status(lab.client, lab.config)
    assert {row.name for row in rows} >= {"control1", "app1"}
    assert {row.container for row in rows} == {"running"}


@pytest.mark.lab
def test_hosts_have_identities_of_their_own(lab: faults.Lab) -> None:
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        found = [faults.Target(lab, name).run("cat", path) for name in ("control1", "app1")]
        assert all(found)
        assert len(set(found)) == 2


def pings(lab: faults.Lab, source: str, destination: str) -> bool:
    address = str(lab.where.host(destination))
    return " 0% packet loss" in faults.Target(lab, source).run("ping", "-c", "1", "-W", "1", address, check=False)


def comes_back(lab: faults.Lab, source: str, destination: str) -> None:
    """Within a few tries: the kernel asks for an unanswered neighbour once a second."""
    wait_until(lambda: pings(lab, source, destination), deadline=10, what=f"{source} reaching {destination}", hint="")


@pytest.mark.lab
@pytest.mark.parametrize("direction", ["both", "out", "in"])
def test_a_cut_cuts_and_heals(lab: faults.Lab, direction: str) -> None:
    faults.inject(faults.Target(lab, "app1", peer="control1", direction=direction), "cut")
    assert not pings(lab, "app1", "control1")
    assert pings(lab, "app1", "db1")
    faults.heal(lab, "app1")
    comes_back(lab, "app1", "control1")


@pytest.mark.lab
def test_an_isolated_host_hears_ssh_from_this_machine_only(lab: faults.Lab) -> None:
    faults.inject(faults.Target(lab, "app1"), "isolate")
    assert not pings(lab, "app1", "control1")
    login = hosts.ssh_command(lab.config, str(lab.where.host("app1")))
    assert subprocess.run([*login, "true"], check=False, timeout=30).returncode == 0
    faults.heal(lab, "app1")
    comes_back(lab, "app1", "control1")


@pytest.mark.lab
@pytest.mark.parametrize("name", ["host_gone", "host_frozen", "isolate_all"])
def test_a_lost_host_comes_back(lab: faults.Lab, name: str) -> None:
    faults.inject(faults.Target(lab, "app1"), name)
    faults.heal(lab, "app1")
    faults.heal(lab, "app1")
    comes_back(lab, "control1", "app1")


@pytest.mark.lab
def test_a_host_can_miss_announcements_and_hears_them_again(lab: faults.Lab) -> None:
    target = faults.Target(lab, "app1")
    faults.inject(target, "announcement_lost")
    assert faults.ANNOUNCEMENT_TABLE in target.run("nft", "list", "tables", "netdev")
    assert " 0% packet loss" in target.run("ping", "-c", "1", "-W", "2", str(lab.where.host("control1"))), "only those"
    faults.heal(lab, "app1", "announcement_lost")
    assert faults.ANNOUNCEMENT_TABLE not in target.run("nft", "list", "tables", "netdev")


@pytest.mark.lab
def test_hosts_left_over_by_a_checkout_that_is_gone_are_made_anew(lab: faults.Lab, tmp_path: Path) -> None:
    """Seen in continuous integration: the same path, a new clone, the old hosts, and a key that they did not know."""
    conf = config.load({"LAB_NAME": f"{lab.config.name}-left", "LAB_DB_HOSTS": "1", "LAB_DISK": "volume"}, tmp_path)

    def up() -> set[str]:
        hosts.up(lab.client, conf, lambda _where, _names: None)
        return {str(host.id) for host in hosts.containers(lab.client, conf)}

    try:
        first = up()
        assert up() == first
        shutil.rmtree(conf.state)
        assert up().isdisjoint(first)
    finally:
        hosts.down(lab.client, conf)
