"""``make`` as the documents say it, against the targets that the Makefile has."""

from __future__ import annotations

import re
from collections.abc import Iterator

TARGET = re.compile(r"^([A-Za-z0-9][\w./-]*)\s*:(?!=)", re.MULTILINE)
FENCED = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)^\1", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"(?:^|[\s;&|(])make((?:[ \t]+[^\s;&|)#]+)+)")


def targets(makefile: str) -> set[str]:
    """The names that can be said after ``make``."""
    return set(TARGET.findall(makefile))


def said(document: str) -> Iterator[str]:
    """The targets named in the code blocks and code spans of a Markdown document."""
    blocks = [block for _fence, block in FENCED.findall(document)]
    spans = INLINE.findall(FENCED.sub("", document))
    for code in [*blocks, *spans]:
        for line in code.splitlines():
            for call in CALL.finditer(line.partition(" #")[0]):
                for word in call[1].split():
                    if re.fullmatch(r"[A-Za-z][\w.-]*", word):
                        yield word


def findings(name: str, document: str, makefile: str) -> Iterator[str]:
    """Each target that a document names and that is not there."""
    for word in sorted(set(said(document)) - targets(makefile)):
        yield f"{name}: make {word}: the Makefile has no such target"
