# SPDX-License-Identifier: BSD-2-Clause
"""``mysql-ha``: the manager's command line. It asks the manager and prints; it decides nothing."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
import time
from typing import Any, Callable, Mapping, Optional, Sequence, TextIO

from ..errors import HaError
from ..plain_words import mapping, real, sequence, utc
from . import client, glance, terminal

DONE, ATTENTION, USAGE, NO_ANSWER = 0, 1, 2, 3
SWITCHOVER_TIMEOUT_S = 300.0
_SLOW = ("switchover", "member")
_USAGE_CODES = ("url_invalid", "token_unreadable", "token_not_private", "request_invalid")

_EPILOG = """\
exit codes:
  0  done; for status: every cluster is well, or held back on purpose
  1  status: a cluster needs attention; otherwise: it was refused, or could not be done
  2  usage
  3  the manager does not answer
"""


_MEMBER = """\
operations:
  take-out    for maintenance: it no longer acknowledges, and is no candidate; it need not answer
  bring-back  it follows, catches up, is counted, and acknowledges, in this order
  repoint     it follows the primary again, and keeps all it has received
  start       receiver and applier of a replica that follows the primary
  stop        both; an acknowledger that writes need has to be taken out first

No operation skips a transaction.
"""


def _duration(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``2h``, ``1d`` in seconds."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text)
    if found is None or int(found.group(1)) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: write it like 30s, 15m, 2h or 1d")
    return float(found.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found.group(2)]


def _positive(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to 1000")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]+)?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds, more than 0")
    return float(text)


def parser() -> argparse.ArgumentParser:
    common = _common()
    whole = argparse.ArgumentParser(
        prog="mysql-ha",
        description="What the manager sees, does and did, and what a person may tell it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )

    one = add("status", "how everything is, or one cluster")
    one.add_argument("cluster", nargs="?", metavar="CLUSTER")
    add("clusters", "one line for each cluster, the most urgent first")
    one = add("history", "recoveries and switchovers, newest first")
    one.add_argument("cluster", nargs="?", metavar="CLUSTER")
    one.add_argument("--limit", type=_positive, default=20, metavar="N", help="at most so many (default 20)")
    one = add("pause", "no automatic failover of a cluster")
    _which(one)
    one.add_argument("--reason", required=True, metavar="TEXT", help="somebody will read it at night")
    one.add_argument(
        "--for", dest="for_s", type=_duration, metavar="2h", help="resume by itself after 30s, 15m, 2h, 1d"
    )
    _by(one)
    one = add("resume", "automatic failover again")
    _which(one)
    _by(one)
    one = add("ack", "say that a person has seen a recovery; ends its cooldown")
    one.add_argument("id", metavar="ID")
    _by(one)
    one = add("switchover", "move the primary of a cluster that is well; returns when it is done")
    one.add_argument("cluster", metavar="CLUSTER")
    one.add_argument("--to", default="auto", metavar="MEMBER", help="the new primary (default: the best)")
    _by(one)
    one = add("member", "take one member out of service, bring it back, re-point, start or stop it; skips nothing")
    one.epilog = f"{_MEMBER}\n{_EPILOG}"
    one.add_argument("operation", choices=glance.OPERATIONS, metavar="OPERATION", help=", ".join(glance.OPERATIONS))
    one.add_argument("cluster", metavar="CLUSTER")
    one.add_argument("member", metavar="MEMBER")
    one.add_argument("--reason", default="", metavar="TEXT", help="why; shown until the member is brought back")
    _by(one)
    one = add("explain", "what the manager would do were the primary to die now")
    one.add_argument("cluster", metavar="CLUSTER")
    one = add("check-config", "read a configuration file and say what is wrong with it")
    one.add_argument("file", nargs="?", metavar="FILE")
    return whole


def _common() -> argparse.ArgumentParser:
    """Options that may stand before and after the command; an absent one is absent, so that none resets the other."""
    to = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    to.add_argument("--json", action="store_true", help="print what the manager answers, as JSON")
    to.add_argument("--socket", metavar="PATH", help=f"the manager's socket (default {client.SOCKET})")
    to.add_argument("--url", metavar="URL", help="ask over HTTP(S) instead of the socket")
    to.add_argument("--token-file", metavar="FILE", help="holds the token for changes over --url")
    to.add_argument("--timeout", type=_seconds, metavar="S", help="seconds to wait for the answer")
    return to


def _which(to: argparse.ArgumentParser) -> None:
    which = to.add_mutually_exclusive_group(required=True)
    which.add_argument("cluster", nargs="?", metavar="CLUSTER")
    which.add_argument("--all", action="store_true", help="every cluster of this manager")


def _by(to: argparse.ArgumentParser) -> None:
    to.add_argument("--by", metavar="NAME", help="who asks (default: the login user)")


class World:
    """What a command needs from outside, so that tests need no terminal."""

    def __init__(
        self,
        out: Optional[TextIO] = None,
        err: Optional[TextIO] = None,
        environ: Optional[Mapping[str, str]] = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.environ = os.environ if environ is None else environ
        self.clock = clock

    def pen(self, stream: TextIO) -> terminal.Pen:
        return terminal.Pen(colour=stream.isatty() and not self.environ.get("NO_COLOR"))

    def user(self) -> str:
        """Who sits there: the one who became root, not root."""
        return self.environ.get("SUDO_USER") or self.environ.get("LOGNAME") or self.environ.get("USER") or _account()


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


Answer = tuple[Any, str, int]
"""What the manager answered, the same for a person, and the exit code."""


class Commands:
    """One method for each command: asks, and puts it in words."""

    def __init__(self, options: argparse.Namespace, manager: client.Client, world: World) -> None:
        self._options = options
        self._manager = manager
        self._pen = world.pen(world.out)
        self._world = world

    def status(self) -> Answer:
        name = self._options.cluster
        if name:
            found = self._manager.get("api", "clusters", name)
            return found, terminal.cluster(found, self._pen), ATTENTION if found["needs_attention"] else DONE
        said = self._manager.get("api", "status")
        now = real(mapping(said.get("manager")).get("now")) or self._world.clock()
        attention = any(row.look.needs_attention for row in glance.rows(said, now)) or bool(glance.trouble(said, now))
        return said, terminal.status(said, self._pen), ATTENTION if attention else DONE

    def clusters(self) -> Answer:
        said = self._manager.get("api", "clusters")
        return said, terminal.clusters(said["clusters"], self._world.clock(), self._pen), DONE

    def history(self) -> Answer:
        query = {"cluster": self._options.cluster or "", "limit": str(self._options.limit)}
        said = self._manager.get("api", "recoveries", query=query)
        return said, terminal.history(said["recoveries"], self._pen), DONE

    def pause(self) -> Answer:
        for_s = self._options.for_s
        until = None if for_s is None else self._world.clock() + for_s
        said = self._change("pause", {"reason": self._options.reason, "until": until})
        end = "until it is resumed" if until is None else f"until {utc(until)}"
        return said, f"{self._named()}: automatic failover is paused {end}.\n", DONE

    def resume(self) -> Answer:
        said = self._change("resume", {})
        return said, f"{self._named()}: automatic failover is on again.\n", DONE

    def ack(self) -> Answer:
        identity = self._options.id
        said = self._manager.post("api", "recoveries", identity, "ack", body={"by": self._by()})
        return said, f"{terminal.clean(identity)}: acknowledged by {terminal.clean(self._by())}.\n", DONE

    def switchover(self) -> Answer:
        said = self._change("switchover", {"to": self._options.to})
        done = said.get("outcome") == "promoted"
        return said, terminal.recovery(said, self._pen), DONE if done else ATTENTION

    def member(self) -> Answer:
        chosen = self._options
        said = self._manager.post(
            *("api", "clusters", chosen.cluster, "members", chosen.member, chosen.operation),
            body={"by": self._by(), "reason": chosen.reason},
        )
        return said, terminal.maintained(said, self._pen), DONE

    def explain(self) -> Answer:
        said = self._manager.get("api", "explain", self._options.cluster)
        return said, terminal.explained(said, self._pen), DONE

    def _change(self, what: str, wish: Mapping[str, Any]) -> Any:
        where = ("clusters", self._options.cluster) if self._options.cluster else ()
        body = {"by": self._by(), **{key: value for key, value in wish.items() if value is not None}}
        return self._manager.post("api", *where, what, body=body)

    def _by(self) -> str:
        return str(self._options.by or self._world.user())

    def _named(self) -> str:
        return terminal.clean(self._options.cluster or "all clusters")


def _check_config(path: Optional[str]) -> Answer:
    """Needs no manager, and what the configuration rests on only here."""
    from . import config

    found = config.load(path or config.PATH)
    said = {"path": path or config.PATH, "valid": True, "clusters": [entry.name for entry in found.clusters]}
    return said, f"{said['path']}: valid, {glance.counted(len(found.clusters), 'cluster')}.\n", DONE


def _manager(options: argparse.Namespace) -> client.Client:
    slow = options.command in _SLOW
    token_file = getattr(options, "token_file", "")
    return client.Client(
        socket_path=getattr(options, "socket", client.SOCKET),
        url=getattr(options, "url", ""),
        token=client.read_token(token_file) if token_file else "",
        timeout=getattr(options, "timeout", SWITCHOVER_TIMEOUT_S if slow else 10.0),
    )


def run(options: argparse.Namespace, world: World) -> tuple[TextIO, str, int]:
    """Do the command: where to print what, and the exit code."""
    as_json = getattr(options, "json", False)
    try:
        if options.command == "check-config":
            said, told, code = _check_config(options.file)
        else:
            said, told, code = getattr(Commands(options, _manager(options), world), options.command)()
    except HaError as error:
        code = NO_ANSWER if error.code == "manager_unreachable" else USAGE if error.code in _USAGE_CODES else ATTENTION
        if as_json:
            return world.out, _as_json(error.as_result()), code
        reasons = sequence(error.evidence.get("reasons"))
        pen = world.pen(world.err)
        return world.err, terminal.error(error.code, error.message, reasons, error.next_step, pen), code
    return world.out, _as_json(said) if as_json else told, code


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def main(arguments: Optional[Sequence[str]] = None, world: Optional[World] = None) -> int:
    options = parser().parse_args(arguments)
    stream, text, code = run(options, world or World())
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


if __name__ == "__main__":
    raise SystemExit(main())
