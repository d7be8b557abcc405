# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the drill's programs importable: they are files of a role, not a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FILES = Path(__file__).resolve().parents[3] / "roles" / "drill" / "files"
PROGRAMS = (
    "drill_common",
    "drill_mysql",
    "writer",
    "observer",
    "checker",
    "report_findings",
    "report_page",
    "report",
)


def _load(name: str) -> ModuleType:
    """Load a program by its path, under the name by which the others import it."""
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for _name in PROGRAMS:
    if _name not in sys.modules:
        _load(_name)
