"""The fault matrix: faults at random moments under load, each with the invariants and an outcome of its own.

Not part of the built collection. Drills break and mend a lab (``lab/``); how to reach and mend it is what the
benchmarks use (``benchmarks/``); what a run showed is judged by the drill's own programs (``roles/drill/files``).
See ``README.md`` beside this file.
"""

import benchmarks  # makes the collection importable

__all__ = ["benchmarks"]
