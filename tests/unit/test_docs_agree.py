# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation against the tree: a name that is in one of them alone is a failure that says which.

Collected from the source by reading it (``ast``), not by running it: a code that only a rare path gives is found too.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Optional, Union

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
DOCS = ROOT / "docs"
# Pages whose agreement this file vouches for; other pages of docs/ are only checked for their links.
PAGES = ("README.md", *(f"docs/{name}.md" for name in sorted(p.stem for p in DOCS.glob("*.md"))))

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources() -> list[Path]:
    return sorted(path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py")


def first_column(page: str, heading: str = "") -> list[str]:
    """The words in backquotes that begin the rows of a page's tables, below a heading (any level) if one is named."""
    lines = text_of(page).splitlines()
    if heading:
        start = next((n for n, line in enumerate(lines) if line.startswith("#") and line.lstrip("# ") == heading), None)
        assert start is not None, f"{page} has no heading {heading!r}"
        level = len(lines[start]) - len(lines[start].lstrip("#"))
        end = next(
            (
                n
                for n, line in enumerate(lines[start + 1 :], start + 1)
                if line.startswith("#") and len(line) - len(line.lstrip("#")) <= level
            ),
            len(lines),
        )
        lines = lines[start:end]
    found = []
    for line in lines:
        if line.startswith("|"):
            found += re.findall(r"`([^`]+)`", line.split("|")[1])
    return found


def compare(what: str, source: Iterable[str], documented: Iterable[str], page: str) -> None:
    """Fail with the names that are on one side only."""
    there, here = set(source), set(documented)
    problems = []
    if there - here:
        problems.append(f"{what}: not in {page}: {', '.join(sorted(there - here))}")
    if here - there:
        problems.append(f"{what}: in {page}, and nowhere in the source: {', '.join(sorted(here - there))}")
    assert not problems, "\n".join(problems)


# --- codes -----------------------------------------------------------------------------------------------------------


def _parameters(node: Function) -> list[str]:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _fields(node: ast.ClassDef) -> list[str]:
    return [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]


def takes_code(tree: ast.AST) -> dict[str, int]:
    """The callables that have a parameter or a field named ``code``, and at which position."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and "code" in _parameters(node):
            found[node.name] = _parameters(node).index("code")
        if isinstance(node, ast.ClassDef):
            init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
            names = _parameters(init) if init else _fields(node)
            if "code" in names:
                found[node.name] = names.index("code")
    found.pop("__init__", None)
    return found


@functools.cache
def _everywhere() -> dict[str, int]:
    found: dict[str, int] = {}
    for path in sources():
        found.update(takes_code(tree_of(path)))
    return found


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _argument(node: ast.Call, position: int) -> Optional[ast.expr]:
    named = next((k.value for k in node.keywords if k.arg == "code"), None)
    return named or (node.args[position] if position < len(node.args) else None)


def _is_code(text: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", text) is not None


def _values(expression: ast.expr, tree: ast.Module) -> Iterator[str]:
    """The codes that an expression may be; a family ends with ``*``. What is passed on from elsewhere gives none."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from _values(expression.body, tree)
        yield from _values(expression.orelse, tree)
    elif isinstance(expression, ast.JoinedStr):
        first = expression.values[0]
        if isinstance(first, ast.Constant) and len(str(first.value)) > 2:
            yield f"{first.value}*"
    elif isinstance(expression, ast.Name):
        yield from _looped(expression.id, tree)


def _looped(name: str, tree: ast.Module) -> Iterator[str]:
    """``for name, ... in (("this", ...), ("that", ...))``."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.For) or not isinstance(node.iter, (ast.Tuple, ast.List)):
            continue
        targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
        place = next((n for n, t in enumerate(targets) if isinstance(t, ast.Name) and t.id == name), None)
        if place is None:
            continue
        for entry in node.iter.elts:
            value = entry.elts[place] if isinstance(entry, ast.Tuple) else entry
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def codes_in(path: Path) -> set[str]:
    """Every code that a file can give to an error, a refusal, a missing claim or a status."""
    tree = tree_of(path)
    callables = {**_everywhere(), **takes_code(tree)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in callables:
            argument = _argument(node, callables[_called(node)])
            if argument is not None:
                found |= {v for v in _values(argument, tree) if _is_code(v.rstrip("*").rstrip("_"))}
    return found


def reasons_of_testimony() -> set[str]:
    """The codes against a testimony: what is appended to ``reasons``, or given to ``Testimony`` at once."""
    found = set()
    for node in ast.walk(tree_of(PLUGINS / "module_utils/topology/testimony.py")):
        if isinstance(node, ast.Call) and _called(node) in ("append", "Testimony"):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and _is_code(part.value):
                    found.add(part.value)
    return found


def _constants(path: str) -> dict[str, str]:
    """The names of a module that are bound to a text."""
    return {
        target.id: node.value.value
        for node in tree_of(PLUGINS / "module_utils" / path).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def verdicts() -> dict[str, str]:
    found = _constants("topology/diagnose.py")
    assert len(found) > 20, "the verdicts are no longer constants of topology/diagnose.py"
    return found


def families() -> dict[str, set[str]]:
    """Codes that are put together, and what they can become."""
    words = verdicts()
    stopping = {words[name] for name in ("NO_ANSWER", "FRESH", "NO_PRIMARY", "SEVERAL_WRITABLE")}
    whole = list(words)
    last = {words[name] for name in whole[whole.index("LOSSLESS") :]}
    states = _constants("server/state.py")
    names = ("REFUSED", "TIMED_OUT", "UNREACHABLE", "LOGIN_FAILED", "TLS_FAILED", "NOT_SUPPORTED", "FAILED")
    kinds = {states[name] for name in names}
    return {
        "topology_*": {f"topology_{word}" for word in stopping},
        "not_lossless_*": {f"not_lossless_{word}" for word in last - stopping - {"lossless", "lossless_at_risk"}},
        "duplicate_*": {"duplicate_server_uuid", "duplicate_server_id"},
        "connect_*": {f"connect_{kind}" for kind in kinds},
    }


def source_codes() -> dict[str, set[str]]:
    """Every code, and the files that give it."""
    found: dict[str, set[str]] = {}
    known = families()
    for path in sources():
        for code in codes_in(path):
            assert not code.endswith("*") or code in known, f"{path}: say in families() what {code} can become"
            for single in known.get(code, {code}):
                found.setdefault(single, set()).add(str(path.relative_to(ROOT)))
    for kind in known["connect_*"]:
        found.setdefault(kind, set()).add("plugins/module_utils/server/session.py")
    for reason in reasons_of_testimony():
        found.setdefault(reason, set()).add("plugins/module_utils/topology/testimony.py")
    # ConnectFailed is given a kind; its code is made of it.
    for kind in (k.removeprefix("connect_") for k in known["connect_*"]):
        if found.get(kind) == {"plugins/module_utils/server/session.py"}:
            del found[kind]
    return found


def test_the_collector_sees_every_way_to_give_a_code() -> None:
    """A collector that finds nothing agrees with everything."""
    codes = source_codes()
    for known in (
        "gtid_set_invalid",  # HaError
        "too_few_acknowledgers",  # _reason
        "clone_plugin_missing",  # Reason
        "too_few_frozen",  # lacking, whose code is not its first argument
        "semi_sync_had_degraded",  # a testimony
        "topology_no_primary",  # a family
        "connect_tls_failed",  # ConnectFailed
        "connection_lost",  # StatementFailed
    ):
        assert known in codes, known


def test_every_code_has_a_row_and_every_row_a_code() -> None:
    codes = source_codes()
    documented = first_column("docs/refusals.md")
    twice = sorted({code for code in documented if documented.count(code) > 1})
    assert not twice, f"docs/refusals.md has more than one row for: {', '.join(twice)}"
    missing = {code: files for code, files in codes.items() if code not in documented}
    gone = sorted(set(documented) - set(codes))
    lines = [f"docs/refusals.md lacks a row for {code} ({', '.join(sorted(f))})" for code, f in sorted(missing.items())]
    lines += [f"docs/refusals.md has a row for {code}, which nothing gives any more" for code in gone]
    assert not lines, "\n".join(lines)


def test_every_row_says_what_to_do() -> None:
    for line in text_of("docs/refusals.md").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 3 and all(cells), f"docs/refusals.md: code, meaning, what to do: {line}"


# --- verdicts, claims, settings --------------------------------------------------------------------------------------


def test_every_verdict_has_a_row_in_the_runbook() -> None:
    compare("verdicts", verdicts().values(), first_column("docs/runbook.md", "What you see"), "docs/runbook.md")


def test_every_claim_of_a_proof_has_a_row() -> None:
    claims = next(
        ast.literal_eval(node.value)
        for node in tree_of(PLUGINS / "module_utils/topology/proof.py").body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "CLAIMS"
    )
    compare("claims", claims, first_column("docs/safety.md", "The proof"), "docs/safety.md")


def test_every_asserted_setting_has_a_row() -> None:
    asserted = set()
    for node in ast.walk(tree_of(PLUGINS / "module_utils/server/settings.py")):
        if isinstance(node, ast.Call) and _called(node) == "Setting" and isinstance(node.args[0], ast.Constant):
            asserted.add(str(node.args[0].value))
    documented = set(first_column("docs/safety.md", "Why each setting"))
    assert not asserted - documented, f"docs/safety.md lacks: {', '.join(sorted(asserted - documented))}"


@pytest.mark.parametrize("page", ["docs/safety.md", "docs/runbook.md", "docs/refusals.md"])
def test_the_time_after_which_a_dead_runs_lock_falls_is_the_same_everywhere(page: str) -> None:
    source = (PLUGINS / "module_utils/topology/locks.py").read_text(encoding="utf-8")
    (seconds,) = re.findall(r"^LOCK_SECONDS = (\d+)$", source, re.MULTILINE)
    said = re.findall(r"dead run(?:'s)?\s+(?:lock )?falls?\s+after\s+(\d+)\s+s", text_of(page))
    assert said == [seconds]


# --- variables -------------------------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"(?<![\w./-])mysql_ha_[a-z0-9_]+")
# The collection's own name.
_NO_VARIABLE = {"mysql_ha_"}


def _yaml_and_templates() -> Iterator[Path]:
    for top in ("roles", "playbooks"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".yml", ".yaml", ".j2", ".json") and path.is_file():
                yield path


def _made_here() -> set[str]:
    """Names that a playbook registers or sets as facts, and that nobody gives from outside."""
    found = set()
    for path in _yaml_and_templates():
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"register: *(mysql_ha_\w+)", text))
        found |= set(re.findall(r"^ {4,}(mysql_ha_\w+):", text, re.MULTILINE))
        if path.parent.name == "vars" and path.parent.parent.name == "playbooks":
            found |= set(re.findall(r"^(mysql_ha_\w+):", text, re.MULTILINE))
    return found


def used_variables() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in _yaml_and_templates():
        for name in _VARIABLE.findall(path.read_text(encoding="utf-8")):
            found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return {name: files for name, files in found.items() if name not in _NO_VARIABLE}


def test_every_variable_is_documented() -> None:
    used = used_variables()
    documented = set(first_column("docs/variables.md"))
    missing = {name: files for name, files in used.items() if name not in documented | _made_here()}
    lines = [f"docs/variables.md lacks {name} ({', '.join(sorted(files))})" for name, files in sorted(missing.items())]
    lab = _VARIABLE.findall(text_of("lab/inventory.py") + text_of("lab/group_vars/all.yml"))
    gone = sorted(name for name in documented if name.startswith("mysql_ha_") and name not in {*used, *lab})
    lines += [f"docs/variables.md has {name}, which no role and no playbook uses" for name in gone]
    assert not lines, "\n".join(lines)


def test_every_password_is_called_a_secret() -> None:
    for line in text_of("docs/variables.md").splitlines():
        if re.match(r"\| `mysql_ha_\w*(password|_tls_key)`", line):
            assert "secret" in line, f"docs/variables.md: {line}"


# --- modules, roles, playbooks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "found"),
    [
        ("Modules", [p.stem for p in (PLUGINS / "modules").glob("mysql_*.py")]),
        ("Roles", [p.parent.parent.name for p in (ROOT / "roles").glob("*/tasks/main.yml")]),
        ("Playbooks", [p.stem for p in (ROOT / "playbooks").glob("*.yml")]),
    ],
)
def test_the_tables_of_the_readme_are_the_tree(heading: str, found: list[str]) -> None:
    compare(heading.lower(), found, first_column("README.md", heading), "README.md")


# --- links, targets, files -------------------------------------------------------------------------------------------


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings, and those that are written."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower()
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_resolves(page: str) -> None:
    here = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _hash, anchor = target.partition("#")
        path = Path(os.path.normpath(here.parent / name)) if name else here
        assert path.exists(), f"{page}: {target} leads nowhere"
        if anchor:
            assert anchor in _anchors(path), f"{page}: {target}: there is no such heading"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    for name in re.findall(r"(?:`|^ {4}|^)make ([a-z][a-z-]*)", text_of(page), re.MULTILINE):
        assert name in targets, f"{page}: there is no target {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_playbook_that_is_named_exists(page: str) -> None:
    books = {p.stem for p in (ROOT / "playbooks").glob("*.yml")}
    for name in re.findall(r"ansible-playbook [^`\n]*?lossless\.mysql_ha\.([a-z_]+)", text_of(page)):
        assert name in books, f"{page}: there is no playbook {name}"


def scenarios() -> set[str]:
    found = set(re.findall(r"^ {2}([a-z_]+):$", text_of("playbooks/vars/drill_scenarios.yml"), re.MULTILINE))
    assert found, "playbooks/vars/drill_scenarios.yml is read no longer"
    return found


def own_drills() -> set[str]:
    """Those of the lab alone, which need no playbook."""
    found = re.findall(r"^(?:OWN|CLUSTER)_DRILLS := (.+)$", text_of("Makefile"), re.MULTILINE)
    assert len(found) == 2, "the Makefile does not name its drills"
    return {name for line in found for name in line.split() if not name.startswith("$")}


def test_every_drill_has_a_row_in_the_runbook() -> None:
    compare("drills", scenarios(), first_column("docs/runbook.md", "Drills"), "docs/runbook.md")


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_a_drill_that_does_not_exist(page: str) -> None:
    for name in re.findall(r"(?:SCENARIO|drill_scenario)=([a-z_]+)", text_of(page)):
        assert name in scenarios() | own_drills(), f"{page}: there is no drill {name}"
