"""A collections path in which this checkout is ``lossless.mysql_ha``, wherever it was cloned to."""

from __future__ import annotations

import os
from pathlib import Path

from lab.config import CHECKOUT


def ensure(checkout: Path = CHECKOUT) -> Path:
    """Make build/collections/ansible_collections/lossless/mysql_ha a link to the checkout."""
    root = checkout / "build" / "collections"
    link = root / "ansible_collections" / "lossless" / "mysql_ha"
    link.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(checkout, link.parent)
    if not link.is_symlink() or os.readlink(link) != target:
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        fresh.symlink_to(target)
        fresh.rename(link)
    return root
