# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of a group try its members in turn. In a process of its own: the program is one, with modules of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "group_writer.py"
TRY = """
import sys, pymysql
sys.path.insert(0, sys.argv[1])
import group_writer

class Cursor:
    def __init__(self, read_only): self.read_only = read_only
    def __enter__(self): return self
    def __exit__(self, *rest): pass
    def execute(self, statement): pass
    def fetchone(self): return (self.read_only,)

class Session:
    open = True
    def __init__(self, name, read_only): self.name, self.read_only = name, read_only
    def cursor(self): return Cursor(self.read_only)
    def close(self): closed.append(self.name)

closed, tried = [], []
serves = {"a": 0, "b": 1, "c": 0}
def opens(host, port, access):
    tried.append(host)
    if serves[host] is None: raise OSError("gone")
    return Session(host, serves[host])

connect = group_writer.in_turn([("a", 1), ("b", 1), ("c", 1)], None, opens)
assert connect().name == "a" and connect().name == "a", "it stays with the one that serves it"
serves["a"] = None
said = []
for _number in range(2):
    try: connect()
    except (OSError, pymysql.err.OperationalError) as error: said.append(type(error).__name__)
assert said == ["OSError", "OperationalError"], said
assert connect().name == "c"
assert tried == ["a", "a", "a", "b", "c"] and closed == ["b"], (tried, closed)
print("done")
"""


def test_in_turn_past_those_that_are_gone_or_take_no_writes() -> None:
    command = [sys.executable, "-c", TRY, str(PROGRAM.parent)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr
