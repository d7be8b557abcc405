"""Things that must not be committed: secrets, paths of somebody's machine, and hosts that only somebody can reach."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from fnmatch import fnmatch

SECRETS = (
    re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*\n[A-Za-z0-9+/=]{16}"),
    re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,})"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    re.compile(r"\$ANSIBLE_VAULT[;]"),
    re.compile(r"://[^\s/:@\"'{}<>]+:[^\s/:@\"'{}<>$]+@"),
)
# Homes of people and of the machines that this was written on. ("/root" alone is a home on every host.)
PATHS = re.compile(
    r"(?<![\w.$}/-])/(?:work/(?:main|shared)|opt/(?:wheels|pypi)|home/[a-z][\w-]*|Users/[A-Za-z]\w*|root/\S)"
)
URL = re.compile(r"\b(?:https?|ftp)://(?:[^\s/@\"'{}]+@)?(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)")

# Hosts that everybody can reach, or that are nobody's.
PUBLIC_HOSTS = (
    "*.ansible.com",
    "*.contributor-covenant.org",
    "*.example",
    "*.example.com",
    "*.example.net",
    "*.example.org",
    "*.gnu.org",
    "*.keepachangelog.com",
    "*.mysql.com",
    "*.oracle.com",
    "*.percona.com",
    "*.python.org",
    "*.readthedocs.io",
    "*.w3.org",
    "ansible.readthedocs.io",
    "datatracker.ietf.org",
    "deb.debian.org",
    "example",
    "example.com",
    "example.net",
    "example.org",
    "fsf.org",
    "galaxy.ansible.com",
    "github.com",
    "gnu.org",
    "keepachangelog.com",
    "localhost",
    "opensource.org",
    "semver.org",
    "spdx.org",
    "www.rfc-editor.org",
)

# (file, what may stand in it, why)
ALLOWED = (
    ("tests/gates/test_checkers.py", re.compile(r".*"), "bad samples, on purpose"),
    ("lab/*", re.compile(r"/root[/]\.$"), "the home of root inside a lab's container"),
    ("tests/*", re.compile(r"https?://(?:[\w-]+|[\w.-]+\.(?:test|invalid|internal))$"), "made-up names"),
)


def findings(name: str, text: str) -> Iterator[str]:
    """Each leak in one file as ``file:line: what``; a secret itself is not repeated."""
    for pattern in SECRETS:
        for match in pattern.finditer(text):
            if not _allowed(name, match.group()):
                yield f"{name}:{_line(text, match)}: reads like a secret ({match.group()[:12]}...)"
    for match in PATHS.finditer(text):
        if not _allowed(name, match.group()):
            yield f"{name}:{_line(text, match)}: {match.group()}: a path of one machine"
    for match in URL.finditer(text):
        if not _public(match["host"].lower().rstrip(".")) and not _allowed(name, match.group()):
            yield f"{name}:{_line(text, match)}: {match['host']}: a host that not everybody may be able to reach"


def _public(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return any(fnmatch(host, known) for known in PUBLIC_HOSTS)


def _allowed(name: str, found: str) -> bool:
    return any(fnmatch(name, files) and what.match(found) for files, what, _why in ALLOWED)


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1
