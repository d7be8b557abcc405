# SPDX-License-Identifier: GPL-3.0-or-later
"""The way of a user on the lab: deploy, deploy again, drill, switch over. In this order, on one cluster."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator

import pytest

from . import playbooks

HOSTS = ("db1", "db2", "db3", "control1", "app1")


def secrets() -> list[str]:
    """The lab's passwords, each a canary: long and random, so that any trace of one is a leak."""
    found = [path.read_text().split()[0] for path in sorted((playbooks.STATE / "secrets").iterdir())]
    assert len(found) >= 5
    return found


@pytest.fixture
def process_lists() -> Iterator[list[str]]:
    """The process lists of all hosts, taken again and again while the test runs."""
    seen: list[str] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for host in HOSTS:
                seen.append(playbooks.on_host(host, "ps", "axwwe", "-o", "args"))
            done.wait(1)

    thread = threading.Thread(target=watch)
    thread.start()
    yield seen
    done.set()
    thread.join()


def test_site_deploys(record_property: pytest.RecordProperty) -> None:
    done = playbooks.playbook("site")
    assert done.returncode == 0, playbooks.end(done.stdout)


def test_a_second_run_changes_nothing_and_shows_no_password(process_lists: list[str]) -> None:
    done = playbooks.playbook("site", "-vvv")
    assert done.returncode == 0, playbooks.end(done.stdout)
    changes = playbooks.changed(done.stdout)
    assert set(changes) == set(HOSTS) and not any(changes.values()), changes
    for secret in secrets():
        assert secret not in done.stdout, "a password is in the output of -vvv"
        assert not any(secret in listing for listing in process_lists), "a password is in a process list"
    assert len(process_lists) >= len(HOSTS)


def test_status_says_lossless() -> None:
    done = playbooks.playbook("status")
    assert done.returncode == 0 and "lossless: primary" in done.stdout, playbooks.end(done.stdout)


def test_the_drill_of_a_primary_crash_passes_and_proves_that_nothing_was_lost() -> None:
    done = playbooks.playbook("failover_drill", "-e", "drill_scenario=primary_crash")
    assert done.returncode == 0, playbooks.end(done.stdout)
    report = json.loads((playbooks.ROOT / "build" / "drill" / "report.json").read_text())
    assert (report["verdict"], report["lost"], report["zero_loss"]) == ("pass", 0, "proven")
    assert report["acknowledged"] >= 1000 and report["proof"]["required"] == 2
    page = (playbooks.ROOT / "build" / "drill" / "report.html").read_text()
    assert "<script src" not in page and "http://" not in page.replace("http://www.w3.org", "")


def test_a_switchover_by_molecule() -> None:
    done = playbooks.run("molecule", "test", "--scenario-name", "switchover")
    assert done.returncode == 0, playbooks.end(done.stdout)


def test_no_password_is_left_behind() -> None:
    """In journals of systemd and of runs, in reports, and in files that others may read."""
    texts = {f"journal of {host}": playbooks.on_host(host, "journalctl", "--no-pager", "--quiet") for host in HOSTS}
    texts["journals of runs"] = playbooks.on_host("control1", "grep", "-rh", "", "/var/lib/lossless-mysql-ha/journal")
    for folder in ("drill", "reports"):
        for path in (playbooks.ROOT / "build" / folder).rglob("*"):
            if path.is_file():
                texts[str(path)] = path.read_text(errors="replace")
    assert len(texts["journals of runs"]) > 100 and shutil.which("docker")
    for secret in secrets():
        assert not [where for where, text in texts.items() if secret in text]
    for host in HOSTS:
        listed = playbooks.on_host(
            host,
            "grep",
            "-rlF",
            *(f"--regexp={secret}" for secret in secrets()),
            "/etc/lossless-mysql-ha",
            "/var/lib/lossless-mysql-ha",
        )
        for path in listed.split():
            assert playbooks.on_host(host, "stat", "--format=%a", path).strip() in ("600", "640"), f"{host}:{path}"
