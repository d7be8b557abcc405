# SPDX-License-Identifier: GPL-3.0-or-later
"""The scratch site, once for all these tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import scratch


@pytest.fixture(scope="session")
def built() -> Iterator[scratch.Site]:
    if not scratch.image():
        pytest.skip("no lab image: run make lab-up")
    site = scratch.Site()
    try:
        site.up()
        for host in site.databases:
            host.watch_addresses()
        yield site
    finally:
        site.close()


@pytest.fixture
def site(built: scratch.Site) -> Iterator[scratch.Site]:
    """db1 is primary and holds both addresses, every keeper runs; whatever a test breaks is mended for the next."""
    mend(built)
    try:
        yield built
    finally:
        built.end_clients()
    for host in built.databases:
        print(f"--- {host.name}\n{host.journal()}")


def close(host: scratch.Host) -> None:
    """Make it read-only. A commit that waits for an acknowledgement holds that up: then by way of a crash."""
    closing = "SET lock_wait_timeout=1; SET GLOBAL super_read_only=1; SET GLOBAL rpl_semi_sync_source_enabled=0;"
    try:
        host.sql(closing)
    except AssertionError:
        host.signal("KILL", "mysqld")
        scratch.eventually("mysqld ends", lambda: not host.runs("mysqld"))
        host.start_mysqld()
        scratch.eventually(f"{host.name} answers", host.answers, 60)
    host.sql("SET GLOBAL offline_mode=0")


def mend(site: scratch.Site) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(mend_host, site.databases))
    site.promote(site.databases[0])
    for host in site.databases:
        host.start_keeper()
    for vip in site.vips:
        scratch.eventually(f"db1 takes {vip}", lambda vip=vip: site.holders(vip) == ["db1"])


def mend_host(host: scratch.Host) -> None:
    scratch.docker("unpause", host.container, check=False)
    host.run("nft", "flush", "ruleset", check=False)
    if host.runs("mysqld"):
        host.signal("CONT", "mysqld")
    if not host.answers():
        host.start_mysqld()
        scratch.eventually(f"{host.name} answers", host.answers, 60)
    host.stop_keeper()
    host.run("rm", "-f", "/var/log/keeper.log")
    close(host)
