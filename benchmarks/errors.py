"""Why a benchmark cannot go on, in one line."""

from __future__ import annotations


class BenchmarkError(Exception):
    """Something a person has to look at; the message says what to do."""
