"""What the user may choose, all of it through the environment, and what follows from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

CHECKOUT = Path(__file__).resolve().parent.parent
MAX_DB_HOSTS = 9


@dataclass(frozen=True)
class Place:
    """Where a database host stands."""

    zone: str
    city: str


@dataclass(frozen=True)
class Config:
    """The lab as asked for."""

    name: str
    checkout: Path
    state: Path
    db_hosts: int
    base_image: str
    suite: str
    mirror: str
    subnet: str
    zones: Mapping[str, Place]
    disk: str
    disk_size: str
    mysql_command: str

    @property
    def path_hash(self) -> str:
        """Tells this checkout's objects from another clone's."""
        return path_hash(self.checkout)

    @property
    def db_names(self) -> list[str]:
        return [f"db{number}" for number in range(1, self.db_hosts + 1)]

    @property
    def host_names(self) -> list[str]:
        return [*self.db_names, "control1", "app1"]

    @property
    def ssh_key(self) -> Path:
        return self.state / "ssh" / "id_ed25519"

    @property
    def inventory(self) -> Path:
        return self.state / "inventory" / "hosts.yml"

    def container(self, host: str) -> str:
        return f"{self.name}-{host}"

    def place(self, host: str) -> Place:
        """Zone and city of a database host: a, b, c ... in city one unless told otherwise."""
        number = int(host.removeprefix("db"))
        return self.zones.get(host, Place(zone=chr(ord("a") + number - 1), city="one"))


def path_hash(checkout: Path) -> str:
    return hashlib.sha256(str(checkout).encode()).hexdigest()[:8]


def parse_zones(text: str) -> dict[str, Place]:
    """Read ``db1=a/one,db2=b/two``; the city may be left out."""
    zones: dict[str, Place] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        host, equals, place = item.partition("=")
        zone, _slash, city = place.partition("/")
        if not equals or not zone or not host.startswith("db"):
            raise LabError(f"LAB_ZONES: cannot read '{item}'; write it like db1=a/one,db2=b/one")
        zones[host] = Place(zone=zone, city=city or "one")
    return zones


def load(environ: Mapping[str, str] | None = None, checkout: Path = CHECKOUT) -> Config:
    """Read the configuration from the environment. An empty variable counts as not set."""
    given = os.environ if environ is None else environ

    def get(name: str, default: str) -> str:
        return given.get(name) or default

    name = get("LAB_NAME", f"mysqlha-{path_hash(checkout)}")
    if not name.replace("-", "").isalnum() or not name[0].isalnum():
        raise LabError(f"LAB_NAME '{name}': letters, digits and hyphens only; choose another")
    try:
        db_hosts = int(get("LAB_DB_HOSTS", "3"))
    except ValueError as error:
        raise LabError("LAB_DB_HOSTS is not a number; write LAB_DB_HOSTS=3") from error
    if not 1 <= db_hosts <= MAX_DB_HOSTS:
        raise LabError(f"LAB_DB_HOSTS={db_hosts}: the lab has room for 1 to {MAX_DB_HOSTS}")
    disk = get("LAB_DISK", "auto")
    if disk not in ("auto", "loop", "volume"):
        raise LabError(f"LAB_DISK={disk}: write auto, loop or volume")
    own_name = given.get("LAB_NAME")
    return Config(
        name=name,
        checkout=checkout,
        state=checkout / get("LAB_STATE_DIR", f"build/lab-{own_name}" if own_name else "build/lab"),
        db_hosts=db_hosts,
        base_image=get("LAB_BASE_IMAGE", ""),
        suite=get("LAB_SUITE", "sid"),
        mirror=get("LAB_MIRROR", ""),
        subnet=get("LAB_SUBNET", ""),
        zones=parse_zones(get("LAB_ZONES", "")),
        disk=disk,
        disk_size=get("LAB_DISK_SIZE", "16G"),
        mysql_command=get("LAB_MYSQL", "mysql"),
    )
