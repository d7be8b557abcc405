# SPDX-License-Identifier: BSD-2-Clause
"""Values of a document that may be anything, for pages and terminals: read without trust, and said in words. Pure."""

from __future__ import annotations

import math
from typing import Any, Mapping, Optional, Sequence


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """The value if it is a list or a tuple, else an empty one."""
    return value if isinstance(value, (list, tuple)) else ()


def real(value: Any) -> Optional[float]:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def utc(moment: Any) -> str:
    """Seconds since the epoch as ``2026-01-31 03:12:04 UTC``, ``-`` when there is none."""
    value = real(moment)
    if value is None or abs(value) > 2e11:
        return "-"
    days, rest = divmod(math.floor(value), 86400)
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d} {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d} UTC"


def _civil(days: int) -> tuple[int, int, int]:
    """Days since 1970-01-01 as year, month, day. A year that begins in March has its leap day last."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day
