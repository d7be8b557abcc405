"""The Debian mirror that this machine uses itself, in whatever format its apt is configured."""

from __future__ import annotations

from lab.errors import LabError
from lab.process import run

HINT = "say which mirror to use: LAB_MIRROR=... make lab-up"


def of_this_machine() -> str:
    """Ask apt itself; parsing its files would have to know all their formats."""
    rows = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(LABEL)", "Created-By: Packages"],
        timeout=60,
        hint=HINT,
    )
    return choose(rows.splitlines())


def choose(rows: list[str]) -> str:
    """The main archive among ``uri|release|label`` rows (label is empty before the first apt update)."""
    candidates = []
    for row in rows:
        uri, release, label = row.split("|")
        uri = uri.rstrip("/")
        if not uri.startswith(("http:", "https:", "file:", "copy:")) or "-security" in release or "security" in uri:
            continue
        if label == "Debian" or uri.endswith("/debian"):
            candidates.append((label != "Debian", uri))
    if not candidates:
        raise LabError(f"this machine's apt knows no Debian archive; {HINT}")
    return min(candidates, key=lambda candidate: candidate[0])[1]


def proxy_options() -> list[str]:
    """The proxy settings of this machine's apt, as lines of apt.conf."""
    dump = run(["apt-config", "dump", "Acquire"], timeout=60, hint=HINT)
    return [
        line for line in dump.splitlines() if line.lower().startswith(("acquire::http::proxy", "acquire::https::proxy"))
    ]
