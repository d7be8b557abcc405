"""The one error the lab raises on purpose."""

from __future__ import annotations


class LabError(Exception):
    """One line: what is wrong, and what to do next."""
