"""What a failover drill found, on one screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.errors import LabError


def load(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise LabError(f"{path} is not there; run: make demo") from error
    except ValueError as error:
        raise LabError(f"{path} is not JSON ({error}); run the drill again") from error
    if not isinstance(report, dict):
        raise LabError(f"{path} is not a report; run the drill again")
    return report


def render(report: dict[str, Any]) -> str:
    """Every plain value of the report, the verdict last so that it is what one sees."""
    lines = [
        f"  {key.replace('_', ' ')}: {value}"
        for key, value in report.items()
        if key != "verdict" and isinstance(value, (str, int, float, bool))
    ]
    return "\n".join([*lines, f"VERDICT: {report.get('verdict', 'none in the report')}"])
