"""A drill that can not be done: nothing is known about what it was to show."""

from __future__ import annotations


class DrillError(Exception):
    """The runner's own trouble, never the collection's."""
