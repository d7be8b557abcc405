# SPDX-License-Identifier: BSD-2-Clause
"""One request in, one reply out: which question to the desk it is, who may ask, and what the answer looks like.

No socket and no clock here. Who may: everybody may read; what changes something needs the token, or the unix socket,
which the file system keeps for root. Errors are JSON: ``{code, message, evidence, next_step}``.
"""

from __future__ import annotations

import dataclasses
import hmac
import ipaddress
import json
import threading
import urllib.parse
from typing import Any, Callable, ContextManager, Mapping, NoReturn, Optional, Sequence

from ..errors import HaError
from ..plain_words import mapping, real
from . import glance, metrics, page
from .desk import Desk

BODY_LIMIT = 64 * 1024
TEXT_LIMIT = 500
HISTORY_LIMIT = 1000
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": page.CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every reply."""

# What is not here is a refusal of the manager: 409.
_STATUS: Mapping[str, int] = {
    "request_invalid": 400,
    "token_missing": 401,
    "token_wrong": 401,
    "changes_not_allowed": 403,
    "host_not_allowed": 403,
    "not_found": 404,
    "unknown_cluster": 404,
    "unknown_member": 404,
    "unknown_recovery": 404,
    "method_not_allowed": 405,
    "request_timed_out": 408,
    "request_too_large": 413,
    "defect": 500,
    "too_busy": 503,
}


@dataclasses.dataclass(frozen=True)
class Request:
    """``target``: path and query as they came. ``trusted``: it came through the unix socket."""

    method: str
    target: str
    host: str = ""
    authorization: str = ""
    body: bytes = b""
    trusted: bool = False


@dataclasses.dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Explainer:
    """Asks ``Desk.explain``, one question at a time, and gives an answer again for ``for_s`` seconds.

    Each question is a fresh look at all members of a cluster: strangers who read may not multiply that.
    """

    def __init__(self, desk: Desk, for_s: float) -> None:
        self._desk = desk
        self._for_s = for_s
        self._asking = threading.Lock()
        self._answers: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def explain(self, cluster: str, now: float) -> Mapping[str, Any]:
        """:raises HaError: what the desk says; that is not kept."""
        with self._asking:
            at, answer = self._answers.get(cluster, (0.0, {}))
            if not 0 <= now - at < self._for_s:
                answer = self._desk.explain(cluster)
                self._answers = {name: kept for name, kept in self._answers.items() if 0 <= now - kept[0] < self._for_s}
                self._answers[cluster] = (now, answer)
            return answer


@dataclasses.dataclass(frozen=True)
class Front:
    """What all requests share. ``loopback``: the service is bound to loopback, so the Host header is checked.

    :param say: a priority as syslog counts them, and a line, for each change that was asked for.
    :param turn: held while an answer is put together. Python runs one thread at a time; many readers at once would
        make the loop that watches the clusters wait for all of them, one after the other can delay it only once.
    """

    desk: Desk
    token: str = dataclasses.field(repr=False)
    loopback: bool
    say: Callable[[int, str], None]
    explainer: Explainer
    turn: ContextManager[Any] = dataclasses.field(default_factory=threading.Lock, repr=False)


Query = Mapping[str, str]
Read = Callable[[Front, Sequence[str], Query, float], Reply]


def answer(front: Front, request: Request, now: float) -> Reply:
    """The reply to a request, whatever it is: an ``HaError`` becomes one. Anything else that is raised is a defect."""
    try:
        return _answer(front, request, now)
    except HaError as error:
        return failure(error)


def failure(error: HaError) -> Reply:
    """An error as JSON, with the status that fits."""
    status = _STATUS.get(error.code, 409)
    body = {"code": error.code, "message": error.message, "evidence": error.evidence, "next_step": error.next_step}
    headers = [("Allow", str(error.evidence["allowed"]))] if status == 405 else []
    headers += [("WWW-Authenticate", 'Bearer realm="lossless-mysql-ha"')] if status == 401 else []
    return _json(body, status, tuple(headers))


def _answer(front: Front, request: Request, now: float) -> Reply:
    if front.loopback and not request.trusted:
        _check_host(request.host)
    path, _mark, query = request.target.partition("?")
    read, change, names = _route(path)
    if read is not None:
        if request.method not in ("GET", "HEAD"):
            _wrong_method(request.method, "GET, HEAD")
        return read(front, names, _query(query), now)
    if request.method != "POST":
        _wrong_method(request.method, "POST")
    _check_token(front, request)
    return _change(front, change, names, request, now)


def _route(path: str) -> tuple[Optional[Read], str, tuple[str, ...]]:
    """What answers there, or what is changed there, and the names in the path.

    :raises HaError: ``not_found``.
    """
    before, *parts = (urllib.parse.unquote(part) for part in path.split("/"))
    for pattern, read, change in _ROUTES:
        names = None if before else _match(pattern, parts)
        if names is not None:
            return read, change, names
    raise HaError("not_found", f"nothing is at {path[:200]}", next_step="docs/manager-cli.md lists what there is.")


def _query(text: str) -> Query:
    try:
        return dict(urllib.parse.parse_qsl(text, max_num_fields=20))
    except ValueError:
        _invalid("the query has too many fields")


def _match(pattern: Sequence[str], parts: Sequence[str]) -> Optional[tuple[str, ...]]:
    """What stands for the pattern's ``*``, or None."""
    if len(pattern) != len(parts):
        return None
    if not all(expected == part or (expected == "*" and part) for expected, part in zip(pattern, parts)):
        return None
    return tuple(part for p, part in zip(pattern, parts) if p == "*")


# --- who may ---------------------------------------------------------------------------------------------------------
def _check_host(host: str) -> None:
    """A page of a stranger, whose name was made to lead here (DNS rebinding), sends that name as Host.

    No Host at all is no browser.
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]").lower()
    if not host or name == "localhost":
        return
    try:
        if ipaddress.ip_address(name).is_loopback:
            return
    except ValueError:
        pass
    raise HaError(
        "host_not_allowed",
        "this service is bound to loopback and was asked under another name",
        evidence={"host": host[:200]},
        next_step="Ask under localhost or 127.0.0.1; a proxy in front has to send one of them as Host.",
    )


def _check_token(front: Front, request: Request) -> None:
    if request.trusted:
        return
    if not front.token:
        raise HaError(
            "changes_not_allowed",
            "no token is configured, so nothing can be changed over TCP",
            next_step="Use mysql-ha on the manager's host, or configure a token.",
        )
    scheme, _space, given = request.authorization.partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise HaError(
            "token_missing",
            "a change needs the token",
            next_step="Send it as Authorization: Bearer, or use mysql-ha with --token-file.",
        )
    if not hmac.compare_digest(given.strip().encode("utf-8", "replace"), front.token.encode("utf-8")):
        front.say(4, "HTTP: a change was asked for with a wrong token")
        raise HaError("token_wrong", "the token is not the one that is configured", next_step="Check the token file.")


# --- reading ---------------------------------------------------------------------------------------------------------
def _status(front: Front, _names: Sequence[str], _query: Query, _now: float) -> Reply:
    with front.turn:
        return _json(front.desk.status())


def _clusters(front: Front, _names: Sequence[str], _query: Query, now: float) -> Reply:
    """``{clusters: [...]}``, the most urgent first: what a list shows."""
    with front.turn:
        return _json({"clusters": [_short(row) for row in glance.rows(front.desk.status(), now)]})


def _short(row: glance.Row) -> dict[str, Any]:
    members = glance.members(row.cluster)
    keys = ("verdict", "action", "since", "primary", "term", "n", "k", "updated_at")
    return {
        **_urgency(row),
        **{key: row.cluster.get(key) for key in keys},
        "paused": bool(row.cluster.get("paused")),
        "maintenance": bool(row.cluster.get("maintenance")),
        "members": len(members),
        "members_answering": sum(glance.answers(member) for _name, member in members),
    }


def _urgency(row: glance.Row) -> dict[str, Any]:
    look = row.look
    return {
        "name": row.name,
        "level": look.level,
        "needs_attention": look.needs_attention,
        "headline": look.headline,
    }


def _cluster(front: Front, names: Sequence[str], _query: Query, now: float) -> Reply:
    """A cluster as in ``status()``, with its name, the time, and how urgent it is."""
    with front.turn:
        cluster = _find(front, names[0])
    row = glance.Row(names[0], cluster, glance.look(names[0], cluster, now))
    more = {"now": now, "why": row.look.why, "next_step": row.look.next_step, "commands": row.look.commands}
    return _json({**cluster, **_urgency(row), **more})


def _find(front: Front, name: str) -> glance.Fields:
    clusters = mapping(front.desk.status().get("clusters"))
    if name not in clusters:
        raise HaError(
            "unknown_cluster",
            f"no cluster of that name is watched here: {name[:100]}",
            evidence={"clusters": sorted(clusters)[:50]},
            next_step="mysql-ha clusters lists them.",
        )
    return mapping(clusters[name])


def _recoveries(front: Front, _names: Sequence[str], query: Query, _now: float) -> Reply:
    limit = _limit(query.get("limit", "100"))
    with front.turn:
        return _json({"recoveries": front.desk.recoveries(query.get("cluster", ""), limit)})


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= HISTORY_LIMIT):
        _invalid(f"limit is a number from 1 to {HISTORY_LIMIT}")
    return int(text)


def _explain(front: Front, names: Sequence[str], _query: Query, now: float) -> Reply:
    return _json(front.explainer.explain(names[0], now))


def _metrics(front: Front, _names: Sequence[str], _query: Query, now: float) -> Reply:
    with front.turn:
        text = metrics.render(front.desk.status(), front.desk.recoveries("", HISTORY_LIMIT), now)
    return Reply(200, metrics.CONTENT_TYPE, text.encode())


def _health(front: Front, _names: Sequence[str], _query: Query, now: float) -> Reply:
    """200 while the loop ticks in time, 503 and the reason otherwise; besides, how many failovers are under way."""
    status = front.desk.status()
    trouble = glance.trouble(status, now)
    clusters = mapping(status.get("clusters")).values()
    body = {
        "healthy": not trouble,
        "reason": trouble,
        "late_s": glance.lateness(status, now),
        "started_at": mapping(status.get("manager")).get("started_at"),
        "clusters": len(clusters),
        "acting": sum(glance.is_acting(mapping(cluster)) for cluster in clusters),
    }
    return _json(body, 503 if trouble else 200)


def _page(front: Front, _names: Sequence[str], query: Query, now: float) -> Reply:
    name = query.get("cluster", "")
    if name:
        return _page_of(front, name, now)
    with front.turn:
        view = page.overview(
            front.desk.status(), front.desk.recoveries("", page.HISTORY), now, find=query.get("find", "")
        )
    return Reply(200, HTML, view.encode())


def _page_of(front: Front, name: str, now: float) -> Reply:
    try:
        explained = front.explainer.explain(name, now)
    except HaError as error:
        explained = {"would": f"This could not be worked out: {error.message}", "obstacles": [error.as_result()]}
    with front.turn:
        status = front.desk.status()
        if name not in mapping(status.get("clusters")):
            return Reply(404, HTML, page.nothing_there(name, status, now).encode())
        view = page.cluster(name, status, front.desk.recoveries(name, 100), explained, now)
    return Reply(200, HTML, view.encode())


# --- changing --------------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class Wish:
    """The body of a change: who, why, until when (seconds since the epoch), and for a switchover which member."""

    by: str
    reason: str = ""
    until: Optional[float] = None
    to: str = "auto"


Change = Callable[[Desk, Sequence[str], Wish], Mapping[str, Any]]


def _maintain(operation: str) -> Change:
    return lambda desk, names, wish: desk.maintain(names[0], names[1], operation, wish.by, wish.reason)


# No names in the path mean all clusters.
_CHANGES: Mapping[str, Change] = {
    "pause": lambda desk, names, wish: desk.pause("".join(names), wish.by, wish.reason, wish.until),
    "resume": lambda desk, names, wish: desk.resume("".join(names), wish.by),
    "switchover": lambda desk, names, wish: desk.switchover(names[0], wish.to, wish.by),
    "ack": lambda desk, names, wish: desk.acknowledge(names[0], wish.by),
    **{name: _maintain(operation) for name, operation in glance.OPERATIONS.items()},
}


def _change(front: Front, change: str, names: Sequence[str], request: Request, now: float) -> Reply:
    """``names``: the cluster, the cluster and the member, or the recovery; none means all clusters."""
    wish = wish_of(request.body, now)
    if change == "pause" and not wish.reason:
        _invalid("a pause needs a reason: somebody will find it at night")
    way = "the socket" if request.trusted else "a token"
    about = f"HTTP: {change} of {'/'.join(names) or 'all clusters'!r} by {wish.by!r} over {way}"
    try:
        done = _CHANGES[change](front.desk, names, wish)
    except HaError as error:
        front.say(4, f"{about}: not done [{error.code}]")
        raise
    front.say(6, f"{about}: done")
    return _json(done)


def wish_of(body: bytes, now: float) -> Wish:
    """The body of a changing call, checked. Pure.

    :raises HaError: ``request_invalid``, with what is wrong.
    """
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        _invalid("the body is no JSON")
    if not isinstance(given, dict):
        _invalid("the body must be one JSON object")
    known = [field.name for field in dataclasses.fields(Wish)]
    strange = sorted(set(given) - set(known))
    if strange:
        _invalid(f"unknown keys: {', '.join(strange)[:200]}; known are {', '.join(known)}")
    words = {key: _text(key, given[key]) for key in ("by", "reason", "to") if given.get(key) is not None}
    if not words.get("by"):
        _invalid("by is missing: the name of the person who asks")
    until = given.get("until")
    if until is not None:
        moment = real(until)
        if moment is None or moment <= now:
            _invalid("until must be a time to come, in seconds since the epoch")
        until = moment
    return Wish(by=words["by"], reason=words.get("reason", ""), until=until, to=words.get("to") or "auto")


def _text(key: str, value: Any) -> str:
    """Printable: it will stand in logs and in terminals."""
    if not isinstance(value, str) or len(value) > TEXT_LIMIT or not value.isprintable():
        _invalid(f"{key} must be one line of text, of at most {TEXT_LIMIT} characters")
    return value.strip()


# --- replies ---------------------------------------------------------------------------------------------------------
def _json(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(status, JSON, json.dumps(value, allow_nan=False).encode() + b"\n", headers)


def _invalid(why: str) -> NoReturn:
    raise HaError("request_invalid", why, next_step="Correct the request; docs/manager-cli.md has its form.")


def _wrong_method(method: str, allowed: str) -> NoReturn:
    raise HaError(
        "method_not_allowed",
        f"{method[:20]} is not allowed there",
        evidence={"allowed": allowed},
        next_step=f"Use {allowed}.",
    )


# Path, what reads it, or what it changes. A star stands for a name.
_ROUTES: Sequence[tuple[tuple[str, ...], Optional[Read], str]] = (
    (("",), _page, ""),
    (("health",), _health, ""),
    (("metrics",), _metrics, ""),
    (("api", "status"), _status, ""),
    (("api", "clusters"), _clusters, ""),
    (("api", "clusters", "*"), _cluster, ""),
    (("api", "recoveries"), _recoveries, ""),
    (("api", "explain", "*"), _explain, ""),
    (("api", "pause"), None, "pause"),
    (("api", "resume"), None, "resume"),
    (("api", "clusters", "*", "pause"), None, "pause"),
    (("api", "clusters", "*", "resume"), None, "resume"),
    (("api", "clusters", "*", "switchover"), None, "switchover"),
    *((("api", "clusters", "*", "members", "*", name), None, name) for name in glance.OPERATIONS),
    (("api", "recoveries", "*", "ack"), None, "ack"),
)
