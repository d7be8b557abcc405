"""pt-table-checksum 3.7 of Debian sid, for a comparison: fetched beside the system, never installed.

Installing it where a server runs would take the server away. Its packages are unpacked into a directory; the Perl
modules are those of the machine's own Debian, for they have to fit its Perl.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

TOOL, MODULES = "percona-toolkit", ("libdbi-perl", "libdbd-mysql-perl", "libmariadb3", "libterm-readkey-perl")
_FETCH_SECONDS, _RUN_SECONDS = 300, 3600
_SOURCE = re.compile(r"^(?:URIs:|deb(?:\s+\[[^]]*\])?)\s+(\S*/debian/?)(?:\s|$)", re.MULTILINE)


def mirror(texts: list[str]) -> str:
    """The machine's own Debian mirror, from its apt configuration. Pure.

    :raises BenchmarkError: there is none.
    """
    for text in texts:
        found = _SOURCE.search(text)
        if found:
            return found[1]
    raise BenchmarkError("apt knows no Debian mirror")


@dataclass(frozen=True)
class Checksummed:
    """One line of its table. ``seconds`` are its own, without the start of Perl."""

    errors: int
    rows: int
    chunks: int
    seconds: float
    table: str


def parse(output: str) -> list[Checksummed]:
    """Its table: TS ERRORS DIFFS ROWS DIFF_ROWS CHUNKS SKIPPED TIME TABLE. Pure."""
    lines = re.findall(r"^\d\d-\d\dT\S+\s+(\d+)\s+\d+\s+(\d+)\s+\d+\s+(\d+)\s+\d+\s+([\d.]+)\s+(\S+)$", output, re.M)
    return [Checksummed(int(line[0]), int(line[1]), int(line[2]), float(line[3]), line[4]) for line in lines]


class PtTableChecksum:
    """``PtTableChecksum.fetched(directory)``, then ``run`` as often as you like."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def fetched(cls, directory: Path) -> PtTableChecksum:
        """
        :raises BenchmarkError: it can not be had, and what apt said.
        """
        tool = cls(directory / "root")
        if not tool._program.exists():
            _fetch(directory)
        tool.version()
        return tool

    @property
    def _program(self) -> Path:
        return self._root / "usr/bin/pt-table-checksum"

    def version(self) -> str:
        return self._call("--version").strip()

    def run(self, address: tuple[str, int], defaults: Path, schema: str, table: str) -> tuple[list[Checksummed], str]:
        """One table on one server; its results, and all that it said.

        :param defaults: an option file with user and password.
        """
        said = self._call(
            f"h={address[0]},P={address[1]},F={defaults}",
            f"--tables={schema}.{table}",
            f"--replicate={schema}.checksums",
            "--recursion-method=none",
            "--no-check-binlog-format",
            "--no-version-check",
            "--chunk-time=0.5",
            # Or every replica would checksum it as well, at the same time.
            "--set-vars=sql_log_bin=0",
            check=False,
        )
        return parse(said), said

    def _call(self, *arguments: str, check: bool = True) -> str:
        version = subprocess.run(
            ["perl", "-e", "printf '%vd', $^V"], check=True, capture_output=True, text=True, timeout=10
        ).stdout.rpartition(".")[0]
        libraries = next((path.parent for path in self._root.glob("usr/lib/*/libmariadb.so.3")), self._root)
        environment = {
            **os.environ,
            "PERL5LIB": f"{libraries}/perl5/{version}:{self._root}/usr/share/perl5",
            "LD_LIBRARY_PATH": str(libraries),
            "MARIADB_PLUGIN_DIR": f"{libraries}/libmariadb3/plugin",
        }
        done = subprocess.run(
            ["perl", str(self._program), *arguments],
            check=False, capture_output=True, text=True, timeout=_RUN_SECONDS, env=environment,
        )  # fmt: skip
        if check and done.returncode:
            raise BenchmarkError(f"pt-table-checksum does not run: {(done.stdout + done.stderr)[-400:]}")
        return done.stdout + done.stderr


def _fetch(directory: Path) -> None:
    places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    source = mirror([place.read_text() for place in places if place.is_file()])
    for part in ("lists/partial", "cache/archives/partial", "packages", "root"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (directory / "sources.list").write_text(f"deb [signed-by={keyring}] {source} sid main\n")
    (directory / "status").write_text("")
    apart = [
        f"-oDir::Etc::sourcelist={directory}/sources.list", "-oDir::Etc::sourceparts=-",
        f"-oDir::State::lists={directory}/lists", f"-oDir::Cache={directory}/cache",
        f"-oDir::State::status={directory}/status", "-oAcquire::Check-Valid-Until=false",
    ]  # fmt: skip
    packages = directory / "packages"
    for command in (
        ["apt-get", *apart, "update"],
        ["apt-get", *apart, "download", TOOL],
        ["apt-get", "download", *MODULES],
    ):
        _command(command, packages)
    for package in packages.glob("*.deb"):
        _command(["dpkg", "-x", str(package), str(directory / "root")], packages)


def _command(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_FETCH_SECONDS, cwd=directory
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[-2:])} failed: {(done.stdout + done.stderr)[-400:]}")
