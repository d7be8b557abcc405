"""How fast the promises are kept: ``python -m benchmarks`` (README.md). Importing makes the collection importable."""

from __future__ import annotations

import sys

from lab.collection_tree import ensure

_COLLECTIONS = str(ensure())
if _COLLECTIONS not in sys.path:
    sys.path.insert(0, _COLLECTIONS)
