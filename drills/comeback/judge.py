"""What a round showed, judged. Pure. Every check can fail: tests/unit/drills_comeback shows each failing.

A check: {name, holds, said}; ``holds`` is None where there was nothing to be seen, which is no pass either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Optional

from ansible_collections.lossless.mysql_ha.plugins.module_utils.gtid import GtidSet

from drills.two_phase.contents import Contents

Check = dict[str, Any]

TITLES = {
    "waited": "The commits stood in the log of the primary when it was killed, and no client was told OK",
    "told": "The degraded primary told its clients OK without an acknowledgement",
    "promoted": "The failover ended as it has to",
    "died": "The rewind was killed where it was to be, and went on at the next start",
    "way": "The server came back the way it has to",
    "archived": "What only it had is archived, all of it and nothing else",
    "kept": "The end of its log is kept",
    "refused": "What may not be done by itself is refused, and names what it is about",
    "harmless": "What may not be rewound starts read-only and follows nobody",
    "not_counted": "What is not verified does not count",
    "done": "The playbook rejoin clones it",
    "broke": "The clone was broken half way",
    "not_done": "What broke is said, and nothing is reported as done",
    "registered": "It follows, is registered and acknowledges: the cluster is lossless",
    "undone": "The application has what it was told OK for, and nothing of the surplus",
    "gtids": "gtid_executed is the primary's on every server",
    "equal": "Every server equals the primary, row by row",
    "round": "The round was carried out",
}


def check(name: str, wrong: Sequence[str], said: str, *, seen: bool = True) -> Check:
    if wrong:
        return {"name": name, "holds": False, "said": "; ".join(wrong)}
    return {"name": name, "holds": True if seen else None, "said": said if seen else "there was nothing to look at"}


def trouble(said: str) -> Check:
    return check("round", [said], "")


def waited(asked: int, number: int, told: int, errors: Sequence[str]) -> Check:
    wrong = [f"only {number} of {asked} commits stood in the log"] if number < asked else []
    wrong += [f"{told} clients were told OK"] if told else []
    wrong += [f"clients got errors: {', '.join(sorted(set(errors))[:3])}"] if errors else []
    return check("waited", wrong, f"{number} transactions of {asked} clients", seen=asked > 0)


def told_all(asked: int, told: int) -> Check:
    return check("told", [f"{told} of {asked} were told OK"] if told != asked else [], f"all {asked}", seen=asked > 0)


def promoted(zero_loss: str, wanted: str, name: str) -> Check:
    wrong = [] if zero_loss == wanted and name else [f"{name or 'nobody'} was promoted {zero_loss}, not {wanted}"]
    return check("promoted", wrong, f"{name} was promoted: {zero_loss}")


def died(point: str, how: str, was: bool) -> Check:
    """``how``: what was seen of it."""
    return check("died", [] if was else [f"not killed at {point}: {how}"], f"at {point}: {how}")


def way(row: Mapping[str, str], state: str, *, cloned: bool = False) -> Check:
    """``row``: what the primary's table says."""
    found = row.get("state", "")
    wrong = [] if found == state else [f"{found or 'nothing was written'} ({row.get('detail', '')}), not {state}"]
    if found == "verified" and row.get("detail", "").startswith("cloned") != cloned:
        wrong.append(f"{row.get('detail')}: {'not cloned' if cloned else 'cloned'}")
    return check("way", wrong, f"{found}: {row.get('detail', '')}")


def archived(surplus: str, manifest: Mapping[str, Any], least: int) -> Check:
    """``surplus``: what the server was said to have; ``least``: how many transactions the clients gave it."""
    had, kept = GtidSet.parse(surplus), GtidSet.parse(str(manifest.get("found", "")))
    wrong = [] if had == kept else [f"{surplus or 'nothing'} was the surplus, {kept or 'nothing'} is in the archive"]
    if len(kept) < least:
        wrong.append(f"{len(kept)} transactions, and {least} waited")
    if manifest.get("transactions", 0) != len(kept):
        wrong.append(f"the manifest lists {manifest.get('transactions', 0)} transactions of {len(kept)}")
    return check("archived", wrong, f"{len(kept)} transactions: {kept}", seen=bool(had))


def kept(files: Sequence[str], ending: str) -> Check:
    found = [file for file in files if file.endswith(ending)]
    return check(
        "kept", [] if found else [f"no file *{ending} among {', '.join(files) or 'nothing'}"], ", ".join(found)
    )


def refused(codes: Collection[str], wanted: Collection[str], gtids: str = "", named: Optional[str] = None) -> Check:
    """:param codes: what was said. ``named``: the GTIDs that the refusal names, where it has to name ``gtids``."""
    missing = sorted(set(wanted) - set(codes))
    wrong = [f"{', '.join(missing)} was not said, but {', '.join(sorted(codes)) or 'nothing'}"] if missing else []
    if named is not None and GtidSet.parse(named) != GtidSet.parse(gtids):
        wrong.append(f"it names {named or 'nothing'}, and the surplus is {gtids}")
    return check("refused", wrong, ", ".join(sorted(wanted)) + (f": {named}" if named else ""), seen=bool(wanted))


def harmless(read_only: bool, follows: str) -> Check:
    wrong = [] if read_only else ["it is not read-only"]
    wrong += [f"it follows {follows}"] if follows else []
    return check("harmless", wrong, "read-only, and follows nobody")


def not_counted(acknowledges: bool) -> Check:
    return check("not_counted", ["it is registered, or acknowledges"] if acknowledges else [], "it is not registered")


def ended_well(exit_status: int, said: str) -> Check:
    """Of the playbook that clones it."""
    return check(
        "done", [f"exit status {exit_status}: {said[-600:]}"] if exit_status else [], "the playbook rejoin ended well"
    )


def broke(what: str, share: float) -> Check:
    return check("broke", [] if what else ["nothing was broken"], f"{what} when {share:.0%} had been copied")


def not_done(exit_status: int, code: str, said: str, wanted: Collection[str]) -> Check:
    """A run that something broke: it fails, with one of these codes, and a sentence."""
    wrong = [] if exit_status else ["it ended as if it had been done"]
    if code not in wanted:
        wrong.append(f"{code or 'no code'} ({said[:200]}), not {' or '.join(sorted(wanted))}")
    return check("not_done", wrong, f"{code}: {said[:300]}")


def registered(why: str) -> Check:
    """``why``: the cluster is not lossless; empty when it is."""
    return check("registered", [why] if why else [], "lossless")


def undone(before: Contents, primary: Contents) -> Check:
    """What the application had before anything waited is what the primary has now. GTIDs are not looked at."""
    wrong = list(apart(before, primary, "before", "now"))
    rows = sum(table.rows for table in before.tables.values())
    return check("undone", wrong, f"{len(before.tables)} tables, {rows} rows", seen=rows > 0)


def equal(primary: str, found: Mapping[str, Contents]) -> Check:
    """Every other server against the primary: definitions, rows, a checksum of all values."""
    theirs = found.get(primary)
    if theirs is None:
        return check("equal", [], "", seen=False)
    others = {name: ours for name, ours in found.items() if name != primary}
    wrong = [said for name, ours in sorted(others.items()) for said in apart(theirs, ours, primary, name)]
    rows = sum(table.rows for table in theirs.tables.values())
    said = f"{', '.join(sorted(others))}: {len(theirs.tables)} tables, {rows} rows, as on {primary}"
    return check("equal", wrong, said, seen=bool(others) and rows > 0)


def gtids(servers: Mapping[str, tuple[str, str, str]]) -> Check:
    """By server: the primary's gtid_executed before, its own, and the primary's after it was read."""
    wrong = []
    for name, (before, own, after) in sorted(servers.items()):
        lacking = GtidSet.parse(before) - GtidSet.parse(own)
        extra = GtidSet.parse(own) - GtidSet.parse(after)
        wrong += [f"{name} lacks {lacking}"] if lacking else []
        wrong += [f"{name} has {extra} besides"] if extra else []
    return check("gtids", wrong, ", ".join(sorted(servers)), seen=bool(servers))


def apart(ours: Contents, theirs: Contents, one: str, other: str) -> list[str]:
    """Every way in which the tables of two servers differ, as sentences."""
    found = []
    for name in sorted(ours.tables.keys() | theirs.tables.keys()):
        here, there = ours.tables.get(name), theirs.tables.get(name)
        if here is None or there is None:
            found.append(f"{name} is there on {one if there is None else other} only")
        elif here.definition != there.definition:
            found.append(f"{name} is defined otherwise on {one} and {other}")
        elif here.rows != there.rows:
            found.append(f"{name} has {here.rows} rows on {one}, {there.rows} on {other}")
        elif here.checksum != there.checksum:
            found.append(f"{name}: {here.rows} rows each, and what they hold differs between {one} and {other}")
    return found
