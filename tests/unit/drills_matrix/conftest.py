# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the matrix as the runner keeps them, made up."""

from __future__ import annotations

from typing import Any


def found(scenario: str = "primary_crash", **changes: Any) -> dict[str, Any]:
    """One run that went well."""
    good: dict[str, Any] = {
        "scenario": scenario,
        "seed": 7,
        "driver": "procedure",
        "expected": ["fail_over"],
        "outcome": ["fail_over"],
        "said": ["promoted db2 (proven)"],
        "acknowledged": 1000,
        "unknown": 4,
        "lost": 0,
        "outage_ms": 600.0,
        "zero_loss": "proven",
        "phases": [],
        "invariants": [],
        "violations": [],
        "seconds": 12.0,
        "condition": {"load": 1.0, "busy": 0.5, "steal": 0.0, "seconds": 12.0},
        "directory": f"build/drills/{scenario}-1",
    }
    return {**good, **changes}
