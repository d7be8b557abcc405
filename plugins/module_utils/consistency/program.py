# SPDX-License-Identifier: BSD-2-Clause
"""One comparison, started by a timer: ``python3 -m ...module_utils.consistency.program --config PATH [--check]``.

It compares, says each finding in one line of the journal, writes the report, and ends with

* 0: pass;
* 1: no pass: something differs, or could not be compared;
* 75: it could not run at all, or not say what it found: no server, no permission, no room. Trying again may help;
* 78: the configuration is wrong, and would be again.

``--check`` only reads the configuration.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Callable, Mapping, Optional, Sequence

from ..errors import HaError
from . import config, report_file, report_words, run, signals
from .config import Config
from .findings import PASS, SCHEMA_DIFFERS

NO_PASS, COULD_NOT_RUN, WRONG_CONFIG = 1, 75, 78
"""EX_TEMPFAIL and EX_CONFIG of sysexits.h."""

ERROR, WARNING, INFO = 3, 4, 6
"""journald's priorities."""

_CONFIG_CODES = ("config_", "assertion", "unknown_m", "admin_login_needed")
"""How the codes of what is wrong in the file begin."""

PROGRESS_EVERY = 60.0
"""Seconds between two lines that say how far it is."""

Say = Callable[[int, str], None]
Compare = Callable[[Config, float, Callable[[str], None]], Mapping[str, Any]]
"""Runs the comparison of a configuration that began at a time, since the epoch, and says how far it is; gives
``run.run``'s report."""


def say(priority: int, text: str) -> None:
    """One line for the journal; journald reads the priority from its ``<6>``."""
    sys.stderr.write(f"<{priority}>{text}\n")
    sys.stderr.flush()


class Progress:
    """How far it is, in the journal, not more often than once in a while: there may be thousands of tables."""

    def __init__(self, telling: Say, clock: Callable[[], float]) -> None:
        self._telling = telling
        self._clock = clock
        self._told = clock()

    def __call__(self, line: str) -> None:
        now = self._clock()
        if now - self._told >= PROGRESS_EVERY:
            self._told = now
            self._telling(INFO, line)


def compare(settings: Config, now: float, saying: Callable[[str], None]) -> Mapping[str, Any]:
    """The comparison itself.

    :raises HaError: what keeps all of it from being done.
    """
    return run.run(
        run.Request(
            settings.cluster,
            settings.members,
            settings.login,
            primary=settings.primary,
            replicas=settings.replicas,
            modes=settings.modes,
            include=settings.include,
            exclude=settings.exclude,
            recent=settings.recent,
            assertions=settings.assertions,
            limits=settings.limits,
            reveal=settings.reveal,
            state_directory=settings.state_directory,
            now=now,
            admin=settings.admin,
        ),
        say=saying,
    )


def work(settings: Config, clock: Callable[[], float], comparing: Compare, telling: Say) -> int:
    """Compare, tell, write. :returns: the exit code."""
    now = clock()
    try:
        report = comparing(settings, now, Progress(telling, clock))
    except HaError as error:
        telling(ERROR, str(error))
        _tell_failure(error, now, settings, telling)
        return WRONG_CONFIG if error.code.startswith(_CONFIG_CODES) else COULD_NOT_RUN
    _tell(report, telling)
    ended = 0 if report_words.passed(report) else NO_PASS
    try:
        written = report_file.write(report, settings.place)
    except HaError as error:
        telling(ERROR, str(error))
        return ended or COULD_NOT_RUN
    telling(INFO, f"report: {written.page}")
    return ended


def _tell(report: Mapping[str, Any], telling: Say) -> None:
    """The headline, then a line for each finding; never a value of a row."""
    verdict = report.get("verdict")
    first, *others = report_words.lines(report)
    priority = INFO if report_words.passed(report) else WARNING if verdict == PASS else _priority(verdict)
    telling(priority, f"{report.get('cluster')}: {first}")
    for line in others:
        telling(_priority(line.partition(":")[0]), line)


def _priority(verdict: Any) -> int:
    return ERROR if report_words.gravity(verdict) >= report_words.gravity(SCHEMA_DIFFERS) else WARNING


def _tell_failure(error: HaError, now: float, settings: Config, telling: Say) -> None:
    try:
        report_file.write_failure(error, now, settings.place)
    except HaError as second:
        telling(ERROR, str(second))


def main(
    arguments: Optional[Sequence[str]] = None,
    comparing: Compare = compare,
    clock: Callable[[], float] = time.time,
    telling: Say = say,
) -> int:
    parser = argparse.ArgumentParser(prog="mysql-ha-consistency", description="Compares a primary with its replicas.")
    parser.add_argument("--config", required=True, help="the configuration file of the run")
    parser.add_argument("--check", action="store_true", help="only check the configuration")
    options = parser.parse_args(arguments)

    def tell(priority: int, text: str) -> None:
        # Here, for all of it: names of clusters, servers and tables may hold what begins a line of its own.
        telling(priority, report_words.one_line(text))

    try:
        settings = config.load(options.config)
    except HaError as error:
        tell(ERROR, str(error))
        return WRONG_CONFIG
    if options.check:
        return 0
    with signals.as_exit():
        return work(settings, clock, comparing, tell)


if __name__ == "__main__":
    raise SystemExit(main())
