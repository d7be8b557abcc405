# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrows go one way, deciders are pure, and nothing waits or swallows errors where nobody looks.

Everything is read from the source, nothing is imported. The rules are those of docs/architecture.md; ``findings`` is
run on small bad trees as well, to show that each rule can fail.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.lossless.mysql_ha."
GLUE = "ansible"
# Plugins that run on the controller, inside Ansible itself.
CONTROLLER = ("plugins/lookup/", "plugins/action/", "plugins/plugin_utils/")
GROUND = frozenset({"gtid", "errors", "refusal", "plain_words"})

# Which rooms a room may use besides itself. A room that is not here is a finding: decide where it belongs.
ROOMS: dict[str, frozenset[str]] = {
    "ground": frozenset(),
    "server": frozenset({"ground"}),
    "topology": frozenset({"ground", "server"}),
    "binlog": frozenset({"ground"}),
    "consistency": frozenset(
        {"ground", "server", "topology", "binlog", "clone", "replication", "config_file", "durable_file"}
    ),
    "config_file": frozenset({"ground"}),
    "durable_file": frozenset(),
    "fault_points": frozenset(),
    "keeper": frozenset({"ground", "server", "topology", "config_file"}),
    "clone": frozenset({"ground", "server", "topology"}),
    "replication": frozenset({"ground", "server", "topology", "binlog", "clone"}),
    "rejoin": frozenset(
        {
            "ground",
            "server",
            "topology",
            "binlog",
            "clone",
            "consistency",
            "replication",
            "config_file",
            "durable_file",
            "fault_points",
        }
    ),
    "failover": frozenset(
        {"ground", "server", "topology", "binlog", "clone", "replication", "durable_file", "fault_points"}
    ),
    "manager": frozenset(
        {"ground", "server", "topology", "binlog", "clone", "replication", "failover", "config_file", "durable_file"}
        | {"fault_points"}
    ),
}

PURE = (
    *(f"{name}.py" for name in sorted(GROUND)),
    *(f"server/{name}.py" for name in ("state", "dialect", "settings")),
    *(f"topology/{name}.py" for name in ("durability", "testimony", "proof", "diagnose", "render")),
    "binlog/charsets.py",
    "binlog/statement_names.py",
    "binlog/statement_objects.py",
    "consistency/statement_reach.py",
    "failover/plan.py",
    *(f"consistency/{name}.py" for name in ("assertions", "assertion_verdict", "read_only_sql")),
    "rejoin/compare_plan.py",
    "keeper/lease.py",
    "keeper/fence.py",
    "rejoin/plan.py",
    "rejoin/verdict.py",
    *(
        f"manager/{name}.py"
        for name in (
            "sample",
            "verdict",
            "policy",
            "returning",
            "packets",
            "glance",
            "page",
            "page_style",
            "terminal",
            "metrics",
        )
    ),
    *(
        f"consistency/{name}.py"
        for name in (
            *("layout", "lookup", "canonical", "questions", "chunks", "settle", "findings", "preflight", "repair"),
            *("report", "summary", "masked"),
        )
    ),
    *(f"consistency/{name}.py" for name in ("window", "time_column", "recent_questions")),
    *(f"consistency/{name}.py" for name in ("report_words", "report_page", "report_style", "metrics")),
    *(f"clone/{name}.py" for name in ("plan", "progress", "directory_plan")),
    *(f"replication/{name}.py" for name in ("plan", "member", "attach", "situation", "refusals", "predict", "steps")),
)
# What is used of these is pure in itself and lives in a file that is not.
PURE_BUT_FOR = {
    ("rejoin/plan.py", "binlog/tail.py"): "Tail",
    ("rejoin/plan.py", "binlog/transactions.py"): "Transaction",
    ("consistency/lookup.py", "server/session.py"): "identifier",
    ("consistency/repair.py", "server/session.py"): "identifier",
    ("consistency/time_column.py", "server/session.py"): "identifier",
    ("rejoin/compare_plan.py", "binlog/rows_json.py"): "value_of",
    ("consistency/statement_reach.py", "binlog/events.py"): "Query",
    ("replication/situation.py", "server/accounts.py"): "replication_user",
}
# The clock, chance, the network, files and other processes: for a decider they are arguments.
IMPURE_MODULES = frozenset(
    {
        "time",
        "datetime",
        "socket",
        "select",
        "ssl",
        "random",
        "secrets",
        "uuid",
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "threading",
        "multiprocessing",
        "subprocess",
        "signal",
        "asyncio",
        "concurrent",
        "urllib",
        "http",
        "fcntl",
        "logging",
    }
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval"})

# Where waiting is the work: (file, function): why.
MAY_SLEEP = {
    ("plugins/module_utils/failover/hands.py", "wait"): "the window in which silence is evidence",
    ("plugins/module_utils/failover/hands.py", "connected"): "receivers that connect",
    ("plugins/module_utils/server/local.py", "_connect"): "a server that starts",
    ("plugins/module_utils/server/local.py", "resume"): "a server whose replication comes back",
    ("plugins/module_utils/server/stop_guard.py", "guard"): "handed in, so that tests do not wait",
    ("plugins/module_utils/rejoin/peers.py", "ask"): "handed in, so that tests do not wait",
    ("plugins/module_utils/rejoin/compare.py", "compare"): "a row in flight on the primary that comes to rest",
    ("plugins/module_utils/consistency/recheck.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/whole.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/multiset.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/pace.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/run.py", "run"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/snapshot.py", "at_one_gtid"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/recent_time.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/recent_binlog.py", "__init__"): "handed in, so that tests do not wait",
    ("plugins/module_utils/consistency/activity.py", "activity"): "handed in, so that tests do not wait",
    (
        "plugins/module_utils/clone/copy.py",
        "follow",
    ): "a copy that is at work, and a server that starts again after it",
    ("plugins/module_utils/replication/repoint.py", "_until"): "threads of a replica start and stop by themselves",
    ("plugins/module_utils/replication/procedure.py", "wait"): "a replica that receives",
    ("plugins/module_utils/replication/procedure.py", "_until"): "a connection that comes up",
    ("plugins/module_utils/replication/semi_sync.py", "_until_active"): "semi-sync that becomes active",
    ("roles/drill/files/fault.py", "until"): "a process that stops",
}
# Where every error is caught: (file, function): why.
MAY_CATCH_ALL = {
    ("plugins/module_utils/topology/observe.py", "_settle"): "handed on to whoever asks for the thread's result",
}
# What a module imports besides its glue and the rooms: (file, module): why.
MODULE_EXTRAS = {
    ("plugins/modules/mysql_binlog_archive.py", "socket"): "says on which host it ran",
    ("plugins/modules/mysql_binlog_archive.py", "time"): "says when it ran",
    ("plugins/modules/mysql_consistency.py", "time"): "says when it ran",
    ("plugins/modules/mysql_rejoin.py", "socket"): "says on which host it ran",
    ("plugins/modules/mysql_rejoin.py", "time"): "says when it ran",
}
MODULE_STDLIB = frozenset({"__future__", "typing", "dataclasses"})


@functools.lru_cache(maxsize=500)
def _parsed(path: Path, _changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


class Source:
    """One Python file, and what it imports."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        self.name = path.relative_to(root).as_posix()
        self.tree = _parsed(path, path.stat().st_mtime_ns)
        self.utils = root / "plugins" / "module_utils"

    @property
    def inside(self) -> str:
        """The path below module_utils, or the empty text."""
        return self.path.relative_to(self.utils).as_posix() if self.utils in self.path.parents else ""

    def imports(self) -> Iterator[str]:
        """Absolute names of modules; those of our own rooms as ``@server/session.py``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield self._own(alias.name, "") or alias.name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    yield self._target(node, alias.name)

    def absolute(self) -> Iterator[str]:
        """The modules that are named in full, as they are written."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module or ""

    def _target(self, node: ast.ImportFrom, name: str) -> str:
        if not node.level:
            return self._own(node.module or "", name) or (node.module or "")
        base = self.path.parent
        for _level in range(node.level - 1):
            base = base.parent
        if self.utils != base and self.utils not in base.parents:
            return f"@outside/{node.module or name}"
        return self._file(base.joinpath(*(node.module or "").split(".")) if node.module else base, name)

    def _own(self, module: str, name: str) -> str:
        prefix = f"{COLLECTION}plugins.module_utils"
        if module != prefix and not module.startswith(f"{prefix}."):
            return ""
        return self._file(self.utils.joinpath(*module[len(prefix) :].strip(".").split(".")), name)

    def _file(self, place: Path, name: str) -> str:
        """The file that ``from place import name`` reads."""
        for candidate in (
            place / f"{name}.py",
            place / name / "__init__.py",
            place.with_suffix(".py"),
            place / "__init__.py",
        ):
            if candidate.is_file() and (name or candidate.name != ".py"):
                return f"@{candidate.relative_to(self.utils).as_posix()}"
        return f"@missing/{place.name}.{name}"

    def functions(self) -> Iterator[tuple[str, ast.AST]]:
        """Every node with the name of the function it stands in."""

        def walk(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
            for child in ast.iter_child_nodes(node):
                inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
                yield inner, child
                yield from walk(child, inner)

        return walk(self.tree, "")


def sources(root: Path, *folders: str) -> list[Source]:
    return [
        Source(root, path)
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    ]


def room_of(inside: str) -> str:
    """``server/session.py`` is in server, ``gtid.py`` is on the ground."""
    first, slash, _rest = inside.partition("/")
    if slash:
        return first
    stem = first.removesuffix(".py")
    return "ground" if stem in GROUND or stem == "__init__" else stem


# --- the rules: each yields sentences --------------------------------------------------------------------------------
def wrong_arrows(root: Path) -> Iterator[str]:
    """Between the rooms of module_utils."""
    for source in sources(root, "plugins/module_utils"):
        room = room_of(source.inside)
        if room == GLUE:
            continue
        if room not in ROOMS:
            yield f"{source.name}: the room {room!r} is not in ROOMS"
            continue
        for target in source.absolute():
            if target.startswith("ansible_collections"):
                yield f"{source.name} imports {target}: rooms import each other relatively"
        for target in source.imports():
            if not target.startswith("@"):
                continue
            other = room_of(target[1:])
            if target.startswith(("@missing/", "@outside/")):
                yield f"{source.name} imports {target[1:]}, which is not there"
            elif other != room and other not in ROOMS[room]:
                yield f"{source.name} imports {target[1:]}: {room} may not use {other}"


def strangers(root: Path) -> Iterator[str]:
    """ansible, pymysql, the lab, the tests, and imports that nobody can read."""
    for source in sources(root, "plugins"):
        for target in source.imports():
            top = target.split(".")[0]
            if top == "ansible" and source.inside != f"{GLUE}.py" and not source.name.startswith(CONTROLLER):
                yield f"{source.name} imports ansible: only module_utils/{GLUE}.py does, and plugins of the controller"
            if top == "pymysql" and source.inside != "server/session.py":
                yield f"{source.name} imports pymysql: only server/session.py does"
            if top in ("lab", "tests") or target.startswith((f"{COLLECTION}lab", f"{COLLECTION}tests")):
                yield f"{source.name} imports {target}: the collection ships without it"
            if top == "importlib":
                yield f"{source.name} imports importlib: an import has to be seen in the source"
        for _function, node in source.functions():
            if isinstance(node, ast.Name) and node.id == "__import__":
                yield f"{source.name} calls __import__: an import has to be seen in the source"


def busy_modules(root: Path) -> Iterator[str]:
    """A module is documentation, arguments and one call."""
    for source in sources(root, "plugins/modules"):
        for target in source.imports():
            ours = target.startswith("@") and not target.startswith(("@missing/", "@outside/"))
            if not (ours or target in MODULE_STDLIB or (source.name, target) in MODULE_EXTRAS):
                yield f"{source.name} imports {target}: a module imports module_utils.{GLUE} and rooms"
        for _function, node in source.functions():
            if isinstance(node, (ast.While, ast.AsyncFor)):
                yield f"{source.name}:{node.lineno} loops: that is work of a room"


def impure(root: Path) -> Iterator[str]:
    """Deciders take the clock, chance and the network as arguments."""
    for source in sources(root, "plugins/module_utils"):
        if source.inside not in PURE:
            continue
        for target in source.imports():
            top = target.split(".")[0]
            if target.startswith("@"):
                package = target.endswith("/__init__.py") or target == "@__init__.py"
                if target[1:] not in PURE and not package and (source.inside, target[1:]) not in PURE_BUT_FOR:
                    yield f"{source.name} is pure and imports {target[1:]}, which is not"
            elif top in IMPURE_MODULES or top not in sys.stdlib_module_names:
                yield f"{source.name} is pure and imports {target}"
        for _function, node in source.functions():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                yield f"{source.name}:{node.lineno} is pure and calls {node.func.id}"


def _all_errors(node: ast.expr | None) -> bool:
    """Whether an except clause, or suppress(), names every error."""
    if node is None:
        return True
    if isinstance(node, ast.Tuple):
        return any(_all_errors(element) for element in node.elts)
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in ("Exception", "BaseException")


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def swallowed_errors(root: Path) -> Iterator[str]:
    for source in sources(root, "plugins", "roles"):
        for function, node in source.functions():
            if (source.name, function) in MAY_CATCH_ALL:
                continue
            if isinstance(node, ast.ExceptHandler) and _all_errors(node.type):
                yield f"{source.name}:{node.lineno} catches every error in {function or 'the file'}"
            if _called(node) == "suppress" and any(_all_errors(a) for a in node.args):  # type: ignore[attr-defined]
                yield f"{source.name}:{node.lineno} suppresses every error in {function or 'the file'}"  # type: ignore[attr-defined]


def sleeps(root: Path) -> Iterator[str]:
    """Waiting by the clock, instead of for what is waited for. A reference counts: it will be called."""
    for source in sources(root, "plugins", "roles"):
        for function, node in source.functions():
            slept = isinstance(node, ast.Attribute) and node.attr == "sleep" and getattr(node.value, "id", "") == "time"
            taken = (
                isinstance(node, ast.ImportFrom) and node.module == "time" and "sleep" in {a.name for a in node.names}
            )
            if (slept or taken) and (source.name, function) not in MAY_SLEEP:
                yield f"{source.name}:{node.lineno} sleeps in {function or 'the file'}"  # type: ignore[attr-defined]


def drills_that_know_the_collection(root: Path) -> Iterator[str]:
    """What judges a failover shares no code with it."""
    for source in sources(root, "roles/drill"):
        for target in source.imports():
            if target.startswith(("@", "ansible")):
                yield f"{source.name} imports {target}: a drill shares no code with what it judges"


RULES: tuple[Callable[[Path], Iterator[str]], ...] = (
    wrong_arrows,
    strangers,
    busy_modules,
    impure,
    swallowed_errors,
    sleeps,
    drills_that_know_the_collection,
)


def findings(root: Path) -> list[str]:
    return [sentence for rule in RULES for sentence in rule(root)]


# --- this checkout ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_collection(rule: Callable[[Path], Iterator[str]]) -> None:
    assert list(rule(CHECKOUT)) == []


def test_the_order_of_the_rooms_has_no_circle() -> None:
    for room, allowed in ROOMS.items():
        for other in allowed:
            assert room not in ROOMS[other], f"{room} and {other}"
            assert ROOMS[other] <= allowed, f"{room} may use {other}, so it may use what that rests on"


def test_the_pure_files_are_there() -> None:
    missing = [name for name in PURE if not (CHECKOUT / "plugins" / "module_utils" / name).is_file()]
    assert missing == []


def test_no_exception_is_left_over() -> None:
    """An exception that nothing needs any more would allow the next mistake."""
    used: set[tuple[str, str]] = set()
    for source in sources(CHECKOUT, "plugins", "roles"):
        for function, node in source.functions():
            if isinstance(node, ast.Attribute) and node.attr == "sleep":
                used.add((source.name, function))
            if isinstance(node, ast.ExceptHandler) and _all_errors(node.type):
                used.add((source.name, function))
        used |= {(source.name, target) for target in source.imports()}
        used |= {(source.inside, target.removeprefix("@")) for target in source.imports()}
    exceptions = {*MAY_SLEEP, *MAY_CATCH_ALL, *MODULE_EXTRAS, *PURE_BUT_FOR}
    left_over = exceptions - used
    assert {
        (name, what) for name, what in left_over if (CHECKOUT / name).exists() or (name, what) in PURE_BUT_FOR
    } == set()


def test_what_a_pure_file_takes_from_one_that_is_not_is_what_was_looked_at() -> None:
    for (pure, other), name in PURE_BUT_FOR.items():
        source = Source(CHECKOUT, CHECKOUT / "plugins" / "module_utils" / pure)
        module = other.removesuffix(".py").replace("/", ".")
        taken = {
            alias.name
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ImportFrom) and node.module == module
            for alias in node.names
        }
        assert taken == {name}, f"{pure} takes {taken} from {other}"


# --- the checker can fail --------------------------------------------------------------------------------------------
GOOD = {
    "plugins/module_utils/__init__.py": "",
    "plugins/module_utils/errors.py": "class HaError(Exception): ...",
    "plugins/module_utils/gtid.py": "import re\nfrom .errors import HaError",
    "plugins/module_utils/ansible.py": "from ansible.module_utils import basic\nfrom .errors import HaError",
    "plugins/module_utils/server/__init__.py": "",
    "plugins/module_utils/server/state.py": "import dataclasses\nfrom ..gtid import GtidSet",
    "plugins/module_utils/server/session.py": "import pymysql\nfrom ..errors import HaError\nfrom . import state",
    "plugins/module_utils/topology/__init__.py": "",
    "plugins/module_utils/topology/diagnose.py": "from ..server.state import x\nfrom ..server import state",
    "plugins/module_utils/failover/__init__.py": "",
    "plugins/module_utils/failover/plan.py": "from ..topology import diagnose\nfrom ..topology.diagnose import y",
    "plugins/modules/mysql_x.py": (
        f"from {COLLECTION}plugins.module_utils import ansible as glue\n"
        f"from {COLLECTION}plugins.module_utils.failover.plan import z\n"
    ),
    "roles/drill/files/writer.py": "import time\nimport pymysql",
    "lab/hosts.py": "",
}


def tree(place: Path, **changes: str) -> Path:
    for name, text in {**GOOD, **changes}.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def test_a_good_tree_has_no_findings(tmp_path: Path) -> None:
    assert findings(tree(tmp_path)) == []


SERVER = "plugins/module_utils/server/session.py"
STATE = "plugins/module_utils/server/state.py"
PLAN = "plugins/module_utils/failover/plan.py"
MODULE = "plugins/modules/mysql_x.py"
BAD = [
    # arrows
    (STATE, "from ..topology.diagnose import x", "server may not use topology"),
    (STATE, "from ..topology import diagnose", "server may not use topology"),
    (STATE, "def f():\n    from ..failover import plan", "server may not use failover"),
    (STATE, "if TYPE_CHECKING:\n    from ..failover.plan import x", "server may not use failover"),
    ("plugins/module_utils/gtid.py", "from .server import state", "ground may not use server"),
    ("plugins/module_utils/errors.py", "from . import ansible", "ground may not use ansible"),
    (SERVER, "from ..ansible import run", "server may not use ansible"),
    ("plugins/module_utils/keeper/loop.py", "from ..failover.plan import x", "keeper may not use failover"),
    ("plugins/module_utils/attic/x.py", "", "the room 'attic' is not in ROOMS"),
    (SERVER, f"from {COLLECTION}plugins.module_utils.server.state import x", "import each other relatively"),
    (SERVER, "from .nowhere import x", "which is not there"),
    (SERVER, "from ....lab import x", "which is not there"),
    # strangers
    (SERVER, "from ansible.module_utils.basic import AnsibleModule", "imports ansible"),
    (SERVER, "import ansible.constants", "imports ansible"),
    (MODULE, "from ansible.module_utils.basic import AnsibleModule", "imports ansible"),
    (STATE, "import pymysql", "only server/session.py"),
    (STATE, "from pymysql.cursors import DictCursor", "only server/session.py"),
    (SERVER, "from lab.hosts import x", "ships without it"),
    (SERVER, "import tests.unit.samples", "ships without it"),
    (SERVER, f"from {COLLECTION}tests.unit import samples", "ships without it"),
    (SERVER, "import importlib\nimportlib.import_module('lab')", "has to be seen"),
    (SERVER, "__import__('lab')", "has to be seen"),
    # modules
    (MODULE, "import time", "imports time"),
    (MODULE, "import pymysql", "only server/session.py"),
    (MODULE, "def f():\n    while True:\n        pass", "loops"),
    # purity
    *(
        (PLAN, f"import {name}", f"is pure and imports {name}")
        for name in ("time", "socket", "random", "os", "threading")
    ),
    (PLAN, "from os import path", "is pure and imports os"),
    (PLAN, "import os.path", "is pure and imports os.path"),
    (PLAN, "from datetime import datetime", "is pure and imports datetime"),
    (PLAN, "import yaml", "is pure and imports yaml"),
    (PLAN, "from ..server.session import Session", "is pure and imports server/session.py, which is not"),
    (PLAN, "from ..server import session", "is pure and imports server/session.py, which is not"),
    (PLAN, "x = open('/etc/passwd')", "is pure and calls open"),
    # errors and sleeps
    (SERVER, "try:\n    x\nexcept:\n    pass", "catches every error"),
    (SERVER, "try:\n    x\nexcept Exception:\n    pass", "catches every error"),
    (SERVER, "try:\n    x\nexcept BaseException as e:\n    pass", "catches every error"),
    (SERVER, "try:\n    x\nexcept (OSError, Exception):\n    pass", "catches every error"),
    (SERVER, "try:\n    x\nexcept builtins.Exception:\n    pass", "catches every error"),
    ("roles/server/files/x.py", "try:\n    x\nexcept Exception:\n    pass", "catches every error"),
    (SERVER, "with contextlib.suppress(Exception):\n    x", "suppresses every error"),
    (SERVER, "with suppress(OSError, BaseException):\n    x", "suppresses every error"),
    (SERVER, "def f():\n    time.sleep(1)", "sleeps in f"),
    (SERVER, "from time import sleep", "sleeps in the file"),
    (SERVER, "def f(wait=time.sleep): ...", "sleeps in f"),
    ("roles/drill/files/writer.py", "import time\ntime.sleep(1)", "sleeps in the file"),
    # drills
    ("roles/drill/files/writer.py", f"from {COLLECTION}plugins.module_utils.gtid import GtidSet", "shares no code"),
    ("roles/drill/files/writer.py", f"import {COLLECTION}plugins.module_utils.gtid", "shares no code"),
]


@pytest.mark.parametrize(("name", "text", "finding"), BAD, ids=[f"{Path(b[0]).name}: {b[1][:40]}" for b in BAD])
def test_a_bad_tree_is_found_out(tmp_path: Path, name: str, text: str, finding: str) -> None:
    found = findings(tree(tmp_path, **{name: text}))
    assert any(finding in sentence and name in sentence for sentence in found), found


def test_what_is_allowed_somewhere_is_not_allowed_elsewhere(tmp_path: Path) -> None:
    """The exceptions hold for one function of one file."""
    bad = "import time\ndef other():\n    time.sleep(1)\ndef wait():\n    time.sleep(1)"
    found = findings(tree(tmp_path, **{"plugins/module_utils/failover/hands.py": bad}))
    assert found == ["plugins/module_utils/failover/hands.py:3 sleeps in other"]
