"""One session of benchmarks: on a cluster that is whole, with a table at the end, and everything put back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.paths import RESULTS
from benchmarks.progress import say
from benchmarks.result import Result, table
from lab.errors import LabError

Benchmark = Callable[[Cluster], Iterable[Result]]


def hold(benchmarks: Sequence[Benchmark]) -> int:
    """Carry them out, one after the other. Returns an exit status: 1 when something could not be done, or a result
    ``failed``."""
    # A run that is told to end puts everything back, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _carry_out(benchmarks)
    except (BenchmarkError, HaError, LabError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; everything was put back")
        return 130


def _carry_out(benchmarks: Sequence[Benchmark]) -> int:
    cluster = Cluster.open()
    documents: list[dict[str, Any]] = []
    failed: list[str] = []
    try:
        for benchmark in benchmarks:
            for result in benchmark(cluster):
                say(f"written: {result.write(RESULTS)}")
                documents.append(result.as_dict())
                failed += [result.name] if result.failed else []
    except KeyboardInterrupt:
        # In the middle of a measurement, and perhaps of putting its fault back.
        cluster.hosts.heal()
        raise
    finally:
        if documents:
            print(table(documents))
        cluster.mend()
    for name in failed:
        say(f"{name} FAILED: see its file")
    return 1 if failed else 0
