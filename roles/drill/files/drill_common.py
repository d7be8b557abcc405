# SPDX-License-Identifier: GPL-3.0-or-later
"""What the drill's programs have in common and that needs no database: configuration, JSON files, the ledger's rule.

Nothing here (or anywhere beside it) imports the collection: a drill that judged the collection with the
collection's own code would repeat its mistakes.

The ledger's rule is one pure function, `entry_of`: account and amount of a row follow from its id. So the
checker knows what every row must hold without having been told, and a row that is present with the wrong
content is seen as well as a row that is absent.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

EXIT_DONE = 0
EXIT_COULD_NOT = 1
EXIT_BAD_CONFIG = 2

RUN_BITS, WRITER_BITS, SEQUENCE_BITS = 21, 8, 24
"""id = run | writer | sequence; 53 bits together, so that an id survives every JSON reader as an exact number."""

MAX_RUN = (1 << RUN_BITS) - 1
MAX_WRITERS = 1 << WRITER_BITS
MAX_SEQUENCE = (1 << SEQUENCE_BITS) - 1
_RUN_SHIFT = WRITER_BITS + SEQUENCE_BITS


class ConfigError(Exception):
    """The configuration file is missing, readable by others, or says something impossible. Never holds a secret."""


@dataclass(frozen=True)
class Entry:
    """What the ledger row with a certain id must hold."""

    account: int
    amount: Decimal


def row_id(run: int, writer: int, sequence: int) -> int:
    """The id of a row. Raises ValueError when a part does not fit into its bits."""
    if not (0 < run <= MAX_RUN and 0 <= writer < MAX_WRITERS and 0 <= sequence <= MAX_SEQUENCE):
        raise ValueError(f"no row id for run {run}, writer {writer}, sequence {sequence}")
    return run << _RUN_SHIFT | writer << SEQUENCE_BITS | sequence


def account_id(run: int, number: int) -> int:
    """The id of account `number` of a run; lies within `run_bounds` as well."""
    return run << _RUN_SHIFT | number


def run_bounds(run: int) -> tuple[int, int]:
    """First and last id (both included) that a run may use, in the ledger and among the accounts."""
    return run << _RUN_SHIFT, ((run + 1) << _RUN_SHIFT) - 1


def run_of(identifier: int) -> int:
    """The run that an id of the ledger or of an account belongs to."""
    return identifier >> _RUN_SHIFT


def entry_of(identifier: int, accounts: int) -> Entry:
    """Account and amount (two decimals, of either sign) of a row, scattered over `accounts` accounts by its id."""
    scattered = identifier * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    cents = (scattered >> 24 & 0xFFFF) - 0x8000
    return Entry(account_id(run_of(identifier), (scattered >> 48) % accounts), Decimal(cents) / 100)


def config_path(description: str) -> str:
    """The one command line argument that every program takes: --config FILE."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON file, mode 0600")
    return str(parser.parse_args().config)


def load_config(path: str) -> dict[str, Any]:
    """Read a JSON object. Raises ConfigError, also when it holds a password that others on this host could read."""
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the configuration {path}: {type(error).__name__}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"the configuration {path} is not a JSON object")
    if "password" in document and mode & 0o077:
        raise ConfigError(f"{path} holds a password and has mode {mode:04o}: only 0600 or less is accepted")
    return document


def required(config: dict[str, Any], *keys: str) -> None:
    """Raise ConfigError that names every key that is missing."""
    missing = sorted(key for key in keys if config.get(key) in (None, "", []))
    if missing:
        raise ConfigError("the configuration lacks: " + ", ".join(missing))


def reject_unknown(config: dict[str, Any], known: Any) -> None:
    """Raise ConfigError for keys that nobody reads: a misspelt limit must not silently become its default."""
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise ConfigError("the configuration has unknown keys: " + ", ".join(unknown))


def positive(config: dict[str, Any], key: str, default: float) -> float:
    """A number greater than zero, or ConfigError."""
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{key} has to be a number greater than zero")
    return float(value)


def moment(value: Any) -> float | None:
    """Wall-clock seconds from a number or its text; None, not observed, for what is no moment (null, "", 0, words)."""
    try:
        return float(value) or None
    except (TypeError, ValueError):
        return None


def json_line(document: dict[str, Any]) -> str:
    """One JSON line with its newline. Only ASCII, so that a torn write can never be half a character."""
    return json.dumps(document, separators=(",", ":")) + "\n"


def read_json_lines(path: str) -> Iterator[dict[str, Any]]:
    """The lines of a log; a line that is no JSON object comes as {"type": "malformed"}: counted, never guessed at."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for text in file:
            if not text.strip():
                continue
            try:
                document = json.loads(text)
            except ValueError:
                document = None
            yield document if isinstance(document, dict) else {"type": "malformed"}


def write_file(path: str, text: str) -> None:
    """Replace a file as a whole: a reader sees the old one or the new one. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_json(path: str, document: dict[str, Any]) -> None:
    """Write a document for people and programs, as a whole. Raises OSError."""
    write_file(path, json.dumps(document, indent=2, sort_keys=False) + "\n")


def capped(identifiers: list[Any], limit: int) -> dict[str, Any]:
    """{"count": all of them, "ids": the first `limit`}: a disaster must not make a report of a gigabyte."""
    return {"count": len(identifiers), "ids": identifiers[:limit]}
