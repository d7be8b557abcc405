"""Labels on every Docker object of a lab: whose it is, and which host."""

from __future__ import annotations

from lab.config import Config

NAME = "lossless.mysql_ha.lab"
CHECKOUT = "lossless.mysql_ha.checkout"
HOST = "lossless.mysql_ha.host"


def labels(config: Config, host: str | None = None) -> dict[str, str]:
    found = {NAME: config.name, CHECKOUT: config.path_hash}
    if host:
        found[HOST] = host
    return found


def selector(config: Config) -> dict[str, str | list[str] | bool]:
    """A filter that finds this lab's objects and no other's."""
    return {"label": [f"{key}={value}" for key, value in labels(config).items()]}
