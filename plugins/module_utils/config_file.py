# SPDX-License-Identifier: BSD-2-Clause
"""The configuration files of the services: private JSON, every key known, every value of its type.

What is wrong is said with its line, and never with its value: that may be a secret.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Mapping, Sequence, Union

from .errors import HaError

Kind = Union[type, tuple[type, ...]]
Place = Sequence[Union[str, int]]
"""Where a value stands: keys and indexes from the top, for example ``("clusters", 0, "name")``."""

NUMBER: Kind = (int, float)
_KIND_NAMES: Mapping[Kind, str] = {
    list: "a list",
    dict: "an object",
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    NUMBER: "a number",
}


def read_private(path: str, next_step: str) -> str:
    """The text of a file that nobody else may read.

    :param next_step: what to do when it can not be read.
    :raises HaError: ``config_unreadable``, ``config_not_private``.
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HaError(
            "config_unreadable",
            f"{path}: {error.strerror if isinstance(error, OSError) else error}",
            evidence={"path": path},
            next_step=next_step,
        ) from error
    if mode & 0o077:
        raise HaError(
            "config_not_private",
            f"{path} holds a password and others may read it (mode {mode:04o})",
            evidence={"path": path, "mode": f"{mode:04o}"},
            next_step=f"chmod 0600 {path}",
        )
    return text


class Document:
    """One file that was read: ``data``, and where in the text each part of it stands."""

    def __init__(self, text: str, path: str, next_step: str) -> None:
        """:raises HaError: ``config_invalid``: it is no JSON object, or has a key twice."""
        self.path = path
        self._next_step = next_step
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise self._invalid(error.lineno, error.msg) from error
        self._lines: dict[tuple[Union[str, int], ...], int] = {}
        walker = _Walker(text)
        walker.walk((), self._lines)
        if walker.twice:
            line, key = walker.twice[0]
            raise self._invalid(line, f"the key {key!r} is there twice")
        if not isinstance(data, dict):
            raise self._invalid(1, "the file must hold one JSON object")
        self.data: dict[str, Any] = data

    def line(self, place: Place) -> int:
        """The line where a value's key stands; where it is not there, that of what would hold it."""
        path = tuple(place)
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def invalid(self, place: Place, why: str) -> HaError:
        """The error to raise about the value at that place."""
        return self._invalid(self.line(place), why)

    def _invalid(self, line: int, why: str) -> HaError:
        return HaError(
            "config_invalid",
            f"{self.path}, line {line}: {why}",
            evidence={"path": self.path, "line": line},
            next_step=self._next_step,
        )

    def fields(
        self, value: Any, place: Place, required: Mapping[str, Kind], optional: Mapping[str, tuple[Kind, Any]]
    ) -> dict[str, Any]:
        """Check one object; what is not given gets its default.

        :param required: kinds by key. These must be there, and texts among them not empty.
        :param optional: kind and default by key.
        """
        if not isinstance(value, dict):
            raise self.invalid(place, f"{self._name(place)} must be an object")
        kinds = {**required, **{key: kind for key, (kind, _default) in optional.items()}}
        for key in value:
            if key not in kinds:
                raise self.invalid((*place, key), f"unknown key {key!r}; known are {', '.join(sorted(kinds))}")
        for key in required:
            if key not in value:
                raise self.invalid(place, f"the key {key!r} is missing")
        for key, single in value.items():
            self.require_kind(single, (*place, key), kinds[key])
            if key in required and single == "":
                raise self.invalid((*place, key), f"{key} is empty")
        return {**{key: default for key, (_kind, default) in optional.items()}, **value}

    def require_kind(self, value: Any, place: Place, kind: Kind) -> None:
        """JSON's true is no number here."""
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise self.invalid(place, f"{self._name(place)} must be {_KIND_NAMES[kind]}")

    @staticmethod
    def _name(place: Place) -> str:
        return next((part for part in reversed(place) if isinstance(part, str)), "the file")


class _Walker:
    """Walks a text that is known to be JSON, for the positions that ``json`` does not give."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decoder = json.JSONDecoder()
        self.twice: list[tuple[int, str]] = []

    def _skip(self) -> str:
        while self._text[self._at] in " \t\r\n":
            self._at += 1
        return self._text[self._at]

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def walk(self, place: tuple[Union[str, int], ...], lines: dict[tuple[Union[str, int], ...], int]) -> None:
        first = self._skip()
        lines.setdefault(place, self._line())
        if first not in "{[":
            _value, self._at = self._decoder.raw_decode(self._text, self._at)
            return
        self._at += 1
        count = 0
        while self._skip() not in "}]":
            if self._text[self._at] == ",":
                self._at += 1
                self._skip()
            part: Union[str, int] = count
            if first == "{":
                line = self._line()
                part, self._at = self._decoder.raw_decode(self._text, self._at)
                if (*place, part) in lines:
                    self.twice.append((line, str(part)))
                lines.setdefault((*place, part), line)
                self._skip()
                self._at += 1  # the colon
            self.walk((*place, part), lines)
            count += 1
        self._at += 1
