"""Where the time of a failover goes: the procedure's own phases, then the keeper, then the clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ansible_collections.lossless.mysql_ha.plugins.module_utils.failover.procedure import Report

from benchmarks.figures import Series
from benchmarks.keeper import Taking


class Phases:
    """Milliseconds by phase, of one run after the other."""

    def __init__(self) -> None:
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._last: dict[str, float] = {}

    def add(
        self,
        report: Report,
        *,
        began: float,
        ended: float,
        taking: Taking | None,
        first_at: float,
        more: Mapping[str, float] | None = None,
    ) -> dict[str, float]:
        """One run. Moments in seconds since the epoch.

        Besides the procedure's own phases: ``between`` (what lies between its phases: deciding and the journal's
        fsyncs), ``promoted`` (from the start until the term row was acknowledged), ``noticed`` (from there until the
        keeper knew it), ``address`` (from there until it had taken the address), ``client`` (from there until the first
        acknowledged write), ``procedure`` (all of it, with the look afterwards, which nobody waits for).

        :param more: what came before, in milliseconds.
        """
        values: dict[str, float] = dict(more or {})
        for phase in report.phases:
            values[phase["name"]] = values.get(phase["name"], 0.0) + phase["duration_ms"]
        promoted = (report.promoted_at - began) * 1000
        term_row_at = (report.promoted_at - report.started_at) * 1000
        before = [phase["duration_ms"] for phase in report.phases if phase["start_ms"] < term_row_at]
        values["between"] = max(promoted - sum(before), 0.0)
        values["promoted"] = promoted
        if taking is not None:
            values["noticed"] = (taking.candidate_at - report.promoted_at) * 1000
            values["address"] = (taking.taken_at - taking.candidate_at) * 1000
            values["client"] = (first_at - taking.taken_at) * 1000
        values["procedure"] = (ended - began) * 1000
        for name, value in values.items():
            self._samples[name].append(value)
        self._last = values
        return values

    def last(self) -> str:
        return ", ".join(f"{name} {value:.0f}" for name, value in self._last.items())

    def series(self) -> dict[str, Series]:
        return {name: Series("ms", tuple(samples)) for name, samples in self._samples.items()}
