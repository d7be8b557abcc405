"""Documentation: of modules, roles and commands, as users will read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from . import make_commands, role_specs
from .workshop import CHECKOUT, NAME, files, run


def modules(tree: Path) -> list[str]:
    """The collection's modules by their full names."""
    return [f"{NAME}.{path.stem}" for path in sorted((tree / "plugins" / "modules").glob("*.py"))]


def nothing(found: list[str]) -> None:
    """Fail with the findings, if there are any."""
    if found:
        pytest.fail("\n".join([f"{len(found)} findings:", *found]), pytrace=False)


def test_documentation_renders(tree: Path) -> None:
    """Modules, fragments and roles, references between them, and the markup of all."""
    run(
        [
            "antsibull-docs",
            "lint-collection-docs",
            "--plugin-docs",
            "--validate-collection-refs=self",
            "--no-disallow-unknown-collection-refs",
            tree,
        ],
        cwd=tree,
    )


def test_every_module_says_what_it_is(tree: Path) -> None:
    names = modules(tree)
    assert names
    told = json.loads(run(["ansible-doc", "--type", "module", "--json", *names]))
    found = [f"{name}: ansible-doc does not find it" for name in names if name not in told]
    for name, parts in sorted(told.items()):
        doc = parts["doc"]
        found += [
            f"{name}: no {word}" for word in ("version_added", "author", "attributes", "notes") if not doc.get(word)
        ]
        found += [f"{name}: no {word}" for word in ("examples", "return") if not parts.get(word)]
        found += [
            f"{name}: the attribute {word} is not described"
            for word in ("check_mode", "diff_mode", "idempotent", "platform")
            if word not in (doc.get("attributes") or {})
        ]
        if name not in (parts.get("examples") or ""):
            found.append(f"{name}: no example calls it by its full name")
    nothing(found)


def test_action_group_holds_the_modules_that_take_the_connection(tree: Path) -> None:
    """``module_defaults: group/lossless.mysql_ha.all`` reaches all of them, and no module that would refuse it."""
    group = {
        f"{NAME}.{name}" for name in yaml.safe_load((tree / "meta" / "runtime.yml").read_text())["action_groups"]["all"]
    }
    told = json.loads(run(["ansible-doc", "--type", "module", "--json", *modules(tree)]))
    connecting = {name for name, parts in told.items() if "members" in parts["doc"]["options"]}
    documented = {name for name, parts in told.items() if "action_group" in parts["doc"]["attributes"]}
    nothing(
        [f"{name}: takes the connection and is not in the group" for name in sorted(connecting - group)]
        + [f"{name}: in the group and does not take the connection" for name in sorted(group - connecting)]
        + [f"{name}: documents another membership than it has" for name in sorted(documented ^ group)]
    )


def test_every_entry_point_of_a_role_is_specified(tree: Path) -> None:
    included = role_specs.entry_points(tree)
    nothing(
        [
            line
            for role in sorted((tree / "roles").iterdir())
            for line in role_specs.findings(role, included.get(role.name, frozenset()))
        ]
    )


def test_commands_in_documents_exist(workplace: Path) -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    documents = [name for name in files() if name.suffix == ".md"]
    if Path("README.md") not in documents:
        nothing(["README.md: is not there"])
    nothing(
        [
            line
            for name in documents
            for line in make_commands.findings(str(name), (CHECKOUT / name).read_text(), makefile)
        ]
    )
