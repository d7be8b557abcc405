# SPDX-License-Identifier: BSD-2-Clause
"""The fault points of a failover: before and after each of its phases (``fault_points.py``)."""

from __future__ import annotations

from ..fault_points import VARIABLE, reach

PHASES = (
    "observe",
    "lock",
    "silence",
    "freeze",
    "elect",
    "apply",
    "prepare",
    "block",
    "drain",
    "acknowledgers",
    "arm",
    "fence",
    "open",
    "term",
    "demote",
    "verify",
)
POINTS = tuple(f"{phase}:{moment}" for phase in PHASES for moment in ("before", "after"))

__all__ = ["PHASES", "POINTS", "VARIABLE", "reach"]
