# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkout as ``ansible_collections.lossless.mysql_ha``, from a fresh clone, without Ansible and without Docker."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "ansible_collections.lossless.mysql_ha"


def _make_importable() -> None:
    """Put a collections path that leads to this checkout first; fail when another checkout is found all the same."""
    if str(CHECKOUT) not in sys.path:
        sys.path.append(str(CHECKOUT))
    from lab.collection_tree import ensure

    collections = str(ensure(CHECKOUT))
    if collections not in sys.path:
        sys.path.insert(0, collections)
    found = importlib.import_module(f"{NAME}.plugins.module_utils.gtid").__file__
    if found is None or CHECKOUT not in Path(found).resolve().parents:
        raise RuntimeError(f"the tests of {CHECKOUT} would test {found}")


_make_importable()

# The time of an example says nothing on a machine that runs a lab as well. What continuous integration finds, everybody
# can find again: there the examples are the same every time.
_QUIET = [HealthCheck.too_slow]
settings.register_profile("dev", deadline=None, max_examples=150, suppress_health_check=_QUIET)
settings.register_profile("ci", deadline=None, max_examples=150, suppress_health_check=_QUIET, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
