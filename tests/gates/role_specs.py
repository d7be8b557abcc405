"""What a role says of its arguments, against what it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

# Names of values that nobody may see. A name that ends in one of the harmless words is a path or a setting.
SECRET = re.compile(r"(password|passphrase|secret|token|private_key|credential)s?(_|$)")
HARMLESS = re.compile(r"_(file|path|dir|directory|length|lifetime|policy|user|plugin|column|name)$")
TEMPLATED = re.compile(r"{{|{%")


def findings(role: Path, entry_points: frozenset[str]) -> Iterator[str]:
    """Each thing that is missing or wrong in one role, as a line.

    :param entry_points: the task files of the role that somebody includes by ``tasks_from``.
    """
    if (role / "tasks" / "main.yml").exists():
        entry_points |= {"main"}
    if not entry_points:
        return
    path = role / "meta" / "argument_specs.yml"
    if not path.exists():
        yield f"{role.name}: no meta/argument_specs.yml"
        return
    specs = yaml.safe_load(path.read_text()).get("argument_specs") or {}
    for missing in sorted(entry_points - set(specs)):
        yield f"{role.name}: no specification of the entry point {missing}"
    for entry in sorted(set(specs)):
        if not any((role / "tasks" / f"{entry}{ending}").exists() for ending in (".yml", ".yaml")):
            yield f"{role.name}: specification of {entry}, but there is no tasks/{entry}.yml"
    named: set[str] = set()
    for entry, spec in specs.items():
        for word in ("short_description", "description"):
            if not spec.get(word):
                yield f"{role.name}: {entry}: no {word}"
        options = spec.get("options") or {}
        named |= set(options)
        yield from _options(f"{role.name}: {entry}", options)
    yield from _defaults(role, specs, named)


def _options(place: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, option in options.items():
        here = f"{place}: {name}"
        for word in ("type", "description"):
            if not option.get(word):
                yield f"{here}: no {word}"
        if option.get("type") == "list" and "elements" not in option:
            yield f"{here}: a list without elements"
        if (
            SECRET.search(name)
            and not HARMLESS.search(name)
            and "no_log" not in option
            and option.get("type") != "dict"
        ):
            yield f"{here}: reads like a secret, and does not say no_log"
        yield from _options(here, option.get("options") or {})


def _defaults(role: Path, specs: Mapping[str, Any], named: set[str]) -> Iterator[str]:
    """Values in ``defaults/main.yml`` that the specification does not know, or gives otherwise."""
    path = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    for name in sorted(set(defaults) - named):
        if not name.startswith("__"):
            yield f"{role.name}: {name} has a default, and is in no specification"
    for entry, spec in specs.items():
        for name, option in (spec.get("options") or {}).items():
            if "default" not in option:
                continue
            if name not in defaults:
                yield f"{role.name}: {entry}: {name} promises a default that defaults/main.yml does not give"
            elif not TEMPLATED.search(str(defaults[name])) and defaults[name] != option["default"]:
                yield f"{role.name}: {entry}: {name} promises {option['default']!r}, the default is {defaults[name]!r}"


def entry_points(root: Path) -> dict[str, frozenset[str]]:
    """The task files that plays, tasks and roles below ``root`` include by ``tasks_from``, by the name of the role."""
    found: dict[str, set[str]] = {}
    for folder in ("playbooks", "roles", "molecule", "examples"):
        for path in sorted([*(root / folder).rglob("*.yml"), *(root / folder).rglob("*.yaml")]):
            for document in yaml.load_all(path.read_text(), Loader=_Tolerant):
                for role, tasks in _included(document):
                    own = path.relative_to(root).parts[1] if folder == "roles" else ""
                    name = role.rpartition(".")[2]
                    if name != own:
                        found.setdefault(name, set()).add(tasks.rpartition("/")[2].partition(".")[0])
    return {name: frozenset(tasks) for name, tasks in found.items()}


class _Tolerant(yaml.SafeLoader):
    """Reads ``!vault`` and its like as nothing."""


_Tolerant.add_multi_constructor("!", lambda loader, suffix, node: None)


def _included(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _included(item)
    elif isinstance(node, dict):
        if isinstance(node.get("tasks_from"), str):
            role = node.get("name") or node.get("role")
            if isinstance(role, str) and not TEMPLATED.search(role + node["tasks_from"]):
                yield role, node["tasks_from"]
        for value in node.values():
            yield from _included(value)
