# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's module_utils as one archive, for the services that run on the database hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: library_archive
author: lossless.mysql_ha maintainers (@lossless-mysql-ha)
version_added: 0.1.0
short_description: The collection's library as an archive
description:
  - Writes C(plugins/module_utils) of this collection into a tar archive in Ansible's temporary directory on the control
    node, and returns the path of the archive. Without the parts that need Ansible.
  - The same library gives the same archive, byte by byte, so that a host that has it is not changed.
  - Meant for the roles of this collection.
options:
  _terms:
    description: Not used.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Install the library
  ansible.builtin.unarchive:
    src: "{{ lookup('lossless.mysql_ha.library_archive') }}"
    dest: /usr/lib/lossless-mysql-ha
"""

RETURN = r"""
_raw:
  description: The path of the archive.
  type: list
  elements: str
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.lookup import LookupBase

PREFIX = "ansible_collections/lossless/mysql_ha/plugins/module_utils"
# Needs ansible, which the hosts do not have.
LEFT_OUT = frozenset({"ansible.py"})


def archive(source: Path) -> bytes:
    """A tar archive of the Python files below ``source``; nothing in it depends on when or by whom it was made."""
    files = sorted(path for path in source.rglob("*.py") if str(path.relative_to(source)) not in LEFT_OUT)
    directories = {Path(PREFIX)} | set(Path(PREFIX).parents)
    directories |= {Path(PREFIX, parent) for file in files for parent in file.relative_to(source).parents}
    directories.discard(Path("."))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for directory in sorted(directories):
            entry = tarfile.TarInfo(str(directory))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for file in files:
            content = file.read_bytes()
            entry = tarfile.TarInfo(str(Path(PREFIX, file.relative_to(source))))
            entry.size, entry.mode = len(content), 0o644
            # Python takes compiled files for valid by time and size: another content must have another time.
            entry.mtime = int(hashlib.sha256(content).hexdigest()[:7], 16)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """Write the archive, unless it is there, and return its path."""
        content = archive(Path(__file__).resolve().parent.parent / "module_utils")
        name = f"lossless-mysql-ha-{hashlib.sha256(content).hexdigest()[:16]}.tar"
        path = Path(constants.DEFAULT_LOCAL_TMP) / name
        if not path.exists():
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_bytes(content)
            fresh.rename(path)
        return [str(path)]
