"""The settings of pip, as a file, for a program that is started without our environment and with another HOME."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path


def write_for(home: Path, environment: Mapping[str, str]) -> Path:
    """Write ``~/.config/pip/pip.conf`` below ``home``: the user's own file, and over it what the environment says."""
    settings = configparser.RawConfigParser()
    own = Path(environment.get("HOME", "/nonexistent"))
    settings.read(
        [
            own / ".pip" / "pip.conf",
            Path(environment.get("XDG_CONFIG_HOME", own / ".config")) / "pip" / "pip.conf",
            environment.get("PIP_CONFIG_FILE", "/nonexistent"),
        ]
    )
    if not settings.has_section("global"):
        settings.add_section("global")
    proxy = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    if proxy:
        settings.set("global", "proxy", proxy)
    for name in sorted(environment):
        if name.startswith("PIP_") and name not in {"PIP_CONFIG_FILE", "PIP_REQUIRE_VIRTUALENV"}:
            settings.set("global", name[4:].lower().replace("_", "-"), environment[name])
    target = home / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=0o600)
    with target.open("w", encoding="utf-8") as out:
        settings.write(out)
    return target
