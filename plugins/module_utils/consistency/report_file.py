# SPDX-License-Identifier: BSD-2-Clause
"""A run's report on disk: JSON, page, and metrics, each of them all or nothing.

In the directory of the reports, for a cluster ``ledger`` and a run ``whole``:

* ``ledger-whole.json`` and ``.html``: the newest report, always under that name;
* ``ledger-whole-20261128T020005Z.json`` and ``.html``: each report by when its run began, the last ``keep`` of them;
* ``ledger-whole.passed``: when a run last passed, for the metrics.

All of these have mode 0640: they name rows, and show them when the run was allowed to reveal values. The metrics, in a
directory of their own, have 0644: whoever collects them is another user, and they name tables and numbers only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import string
from typing import Any, Mapping, Optional

from .. import durable_file
from ..errors import HaError, defect
from ..plain_words import real, utc
from . import metrics, report_page, report_words

KEEP = 50
PRIVATE, PUBLIC = 0o640, 0o644
DIRECTORY_MODE = 0o750

RUN = re.compile(r"[a-z][a-z0-9_]*")
"""Names of runs: without a dash, and never like the time that follows it, so that each file is one run's."""

_PLAIN = frozenset(string.ascii_letters + string.digits + "._-")
_STAMP = r"[0-9]{8}T[0-9]{6}Z"


@dataclasses.dataclass(frozen=True)
class Written:
    """Where a report is: the newest one's paths. ``metrics`` is empty when none were asked for."""

    json: str
    page: str
    metrics: str = ""

    def as_result(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the reports of one run go.

    :param run: the name of this run among those on the same cluster, as ``RUN`` allows it.
    :param metrics_directory: of node_exporter's textfile collector; empty for none.
    :param keep: how many reports stay besides the newest name.
    """

    directory: str
    cluster: str
    run: str = "consistency"
    metrics_directory: str = ""
    keep: int = KEEP

    @property
    def name(self) -> str:
        if not RUN.fullmatch(self.run):
            raise defect(f"a run has the name {self.run!r}")
        return f"{_file_name(self.cluster)}-{self.run}"


def write(report: Mapping[str, Any], place: Place) -> Written:
    """Write a report, and remove those that are too old.

    The metrics come first: they say what was found whatever becomes of the report, and it is written whatever becomes
    of them.

    :param report: as ``run.run`` gives it.
    :raises HaError: ``report_unwritable``. What was written before it stays, but for metrics that can not be replaced:
        these are removed, for what they say no longer holds. No file is half written.
    """
    try:
        _tell(report, place)
    finally:
        _keep(report, place)
    newest = os.path.join(place.directory, place.name)
    return Written(f"{newest}.json", f"{newest}.html", _metrics_path(place))


def _tell(report: Mapping[str, Any], place: Place) -> None:
    """The metrics of a report that is not written yet. Errors as ``write``."""
    if not place.metrics_directory:
        return
    passed, unread = _passed_now(report), None
    if passed is None:
        passed, unread = _passed_before(place)
    _replace_metrics(metrics.render(report, place.run, passed), place)
    if unread is not None:
        raise unread


def _keep(report: Mapping[str, Any], place: Place) -> None:
    """The report itself, and when it passed. Errors as ``write``."""
    document = f"{json.dumps(report, indent=1, ensure_ascii=True)}\n"
    page = report_page.render(report)
    newest = os.path.join(place.directory, place.name)
    dated = f"{newest}-{_stamp(report.get('started_at'))}"
    with _writing(place.directory):
        durable_file.make_directory(place.directory, mode=DIRECTORY_MODE)
    passed = _passed_now(report)
    if passed is not None:
        _replace(f"{newest}.passed", f"{json.dumps(passed)}\n", PRIVATE)
    for base in (dated, newest):
        _replace(f"{base}.json", document, PRIVATE)
        _replace(f"{base}.html", page, PRIVATE)
    _prune(place)


def write_failure(error: HaError, now: float, place: Place) -> None:
    """Say in the metrics that a run could not compare anything, so that the verdict of an earlier one does not stay.

    :raises HaError: ``report_unwritable``: the metrics can not be replaced, and are removed; or they are replaced, but
        it can not be read when a run last passed, so they do not say it.
    """
    if not place.metrics_directory:
        return
    passed, unread = _passed_before(place)
    _replace_metrics(metrics.render_failure(place.cluster, place.run, error.code, now, passed), place)
    if unread is not None:
        raise unread


def _passed_now(report: Mapping[str, Any]) -> Optional[float]:
    """When this run began, if it passed."""
    return real(report.get("started_at")) if report_words.passed(report) else None


def _passed_before(place: Place) -> tuple[Optional[float], Optional[HaError]]:
    """``last_passed``, or None and what kept us from reading it: metrics without that are better than old ones."""
    try:
        return last_passed(place), None
    except HaError as error:
        return None, error


def last_passed(place: Place) -> Optional[float]:
    """When a run of that name last passed, since the epoch. None: never, or it is not known.

    :raises HaError: ``report_unwritable``: the file is there and cannot be read.
    """
    path = os.path.join(place.directory, f"{place.name}.passed")
    with _writing(path):
        try:
            with open(durable_file.open_file(path, os.O_RDONLY), encoding="utf-8") as found:
                return real(json.load(found))
        except (FileNotFoundError, ValueError):
            # Damaged is as good as missing: the next pass writes it, and until then the metric is absent.
            return None


def _metrics_path(place: Place) -> str:
    if not place.metrics_directory:
        return ""
    return os.path.join(place.metrics_directory, f"mysql_ha_consistency-{place.name}.prom")


def _replace_metrics(text: str, place: Place) -> None:
    """All or nothing: what an earlier run found is no longer known, and absent metrics can be alerted on."""
    path = _metrics_path(place)
    try:
        _replace(path, text, PUBLIC)
    except HaError:
        with _writing(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _prune(place: Place) -> None:
    """Keep the newest reports by the time in their names; never anything with another name."""
    ours = re.compile(rf"{re.escape(place.name)}-({_STAMP})\.(json|html)")
    with _writing(place.directory):
        found = [match for match in map(ours.fullmatch, os.listdir(place.directory)) if match]
        stamps = sorted({match[1] for match in found}, reverse=True)
        for match in found:
            if match[1] in stamps[place.keep :]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(place.directory, match[0]))


def _replace(path: str, text: str, mode: int) -> None:
    with _writing(path):
        durable_file.replace(path, text, mode=mode).close()


@contextlib.contextmanager
def _writing(path: str) -> Any:
    try:
        yield
    except OSError as error:
        raise HaError(
            "report_unwritable",
            f"the report can not be written: {error.filename or path}: {error.strerror or error}",
            evidence={"path": str(error.filename or path), "error": error.strerror or str(error)},
            next_step="Make room, or let the user that compares write in that directory; then run again.",
        ) from error


def _stamp(moment: Any) -> str:
    """``20261128T020005Z``."""
    said = utc(moment)
    if said == "-":
        return "19700101T000000Z"
    return said.removesuffix(" UTC").replace("-", "").replace(":", "").replace(" ", "T") + "Z"


def _file_name(name: str) -> str:
    """A name as the beginning of a file's name: two names never give one, and none is hidden or leads elsewhere."""
    encoded = "".join(chr(b) if chr(b) in _PLAIN else f"%{b:02X}" for b in name.encode("utf-8", "backslashreplace"))
    return f"%2E{encoded[1:]}" if encoded.startswith(".") else encoded or "%"
