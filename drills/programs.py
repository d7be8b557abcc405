"""The drill's own programs, which judge without a line of the collection. They import each other by bare names."""

from __future__ import annotations

import sys

from benchmarks.program import FILES

sys.path.append(str(FILES))

import checker
import drill_common
import report as single
import report_findings as findings
import report_page as page

__all__ = ["checker", "drill_common", "findings", "page", "single"]
