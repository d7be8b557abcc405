"""``python -m drills matrix``, ``soak``, ``two_phase_commit``, ``rewind``, ``reconcile`` and the like: see --help and
README.md."""

from __future__ import annotations

import argparse
import random
import signal
import sys
from collections.abc import Sequence

from ansible_collections.lossless.mysql_ha.plugins.module_utils.errors import HaError

from benchmarks.cluster import Cluster
from benchmarks.errors import BenchmarkError
from benchmarks.hosts import Hosts
from benchmarks.progress import say
from drills import matrix, soak
from drills.comeback import run as comeback
from drills.comeback.rewind import COMMITS
from drills.errors import DrillError
from drills.reconcile import run as reconcile
from drills.reconcile.cases import CASES, Options
from drills.reconcile.mutants import MUTANTS
from drills.scenarios import BY_NAME, GATE, SCENARIOS
from drills.steps import MANAGER, PROCEDURE
from drills.two_phase import mutants
from drills.two_phase import run as two_phase
from lab.errors import LabError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m drills", description="Faults on purpose, and what came of them.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("matrix", help="each scenario, as often as asked")
    one.add_argument("names", nargs="*", metavar="SCENARIO", help="which ones; all without a name")
    one.add_argument("--gate", action="store_true", help=f"the {len(GATE)} that a release may not fail")
    one.add_argument("--repeat", type=int, default=1, metavar="N", help="runs of each (default 1)")
    one.add_argument("--run-seed", type=int, help="replay one run of one scenario")
    two = commands.add_parser("soak", help="at random, until the time is up or something is violated")
    two.add_argument("--minutes", type=float, default=30.0, help="default 30")
    two.add_argument("--round-seed", type=int, help="replay one round")
    three = commands.add_parser("two_phase_commit", help="kill -9, and the rows equal a replay of the binary log")
    three.add_argument("--rounds", type=int, default=two_phase.ROUNDS, help=f"default {two_phase.ROUNDS}")
    three.add_argument("--round-seed", type=int, help="replay one round, on a new server")
    three.add_argument("--mutant", choices=mutants.NAMES, default="", help="break it on purpose: it has to be noticed")
    three.add_argument("--seed", type=int, help="of the session; chosen and printed without it")
    for name, drill in comeback.DRILLS.items():
        four = commands.add_parser(name, help=drill.description.partition(":")[0])
        four.add_argument("cases", nargs="*", metavar="CASE", help=f"all without one: {', '.join(drill.cases)}")
        four.add_argument("--commits", type=int, default=COMMITS, help=f"that wait, of 'thousands' (default {COMMITS})")
        four.add_argument("--mutant", choices=drill.mutants, default="", help="break it: it has to be noticed")
    five = commands.add_parser(reconcile.NAME, help="differences planted under load, and what a comparison finds")
    five.add_argument("cases", nargs="*", metavar="CASE", help=f"all without one: {', '.join(CASES)}")
    five.add_argument("--delay", type=int, default=Options.delay, help="seconds, of 'delayed' (default 30)")
    five.add_argument("--minutes", type=float, default=Options.minutes, help="of 'delayed' (default 60)")
    five.add_argument("--rounds", type=int, default=Options.rounds, help="of 'clean' (default 20)")
    five.add_argument("--mutant", choices=list(MUTANTS), default="", help="break it: its case has to notice it")
    for command in (one, two):
        command.add_argument("--seed", type=int, help="of the session; chosen and printed without it")
        command.add_argument(
            "--driver", choices=("", MANAGER, PROCEDURE), default="", help="default: manager if it runs"
        )
    commands.add_parser("list", help="what there is")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    top = parser()
    options = top.parse_args(arguments)
    if options.command == "list":
        for one in SCENARIOS:
            print(f"{one.number:3} {one.name:34} {'gate' if one.gate else '    '} {one.description}")
        return 0
    if options.command == "matrix":
        unknown = [name for name in options.names if name not in BY_NAME]
        if unknown:
            top.error(f"there is no {', '.join(unknown)}; see: python -m drills list")
        if options.repeat < 1:
            top.error("--repeat: at least 1")
        if options.run_seed is not None and len(options.names) != 1:
            top.error("--run-seed replays one scenario: name it")
    if options.command == "two_phase_commit" and options.rounds < 1:
        top.error("--rounds: at least 1")
    if options.command in comeback.DRILLS:
        unknown = [name for name in options.cases if name not in comeback.DRILLS[options.command].cases]
        if unknown or options.commits < 1:
            top.error(f"there is no case {', '.join(unknown)}" if unknown else "--commits: at least 1")
    if options.command == reconcile.NAME:
        unknown = [name for name in options.cases if name not in CASES]
        if unknown or options.rounds < 1 or options.delay < 1:
            top.error(f"there is no case {', '.join(unknown)}" if unknown else "--rounds, --delay: at least 1")
    asked = getattr(options, "seed", None)
    seed = random.SystemRandom().randrange(1 << 32) if asked is None else asked
    # A run that is told to end puts everything back, as on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.command == "two_phase_commit":
            return two_phase.run(Hosts(), options.rounds, seed, round_seed=options.round_seed, mutant=options.mutant)
        cluster = Cluster.open()
        if options.command in comeback.DRILLS:
            return comeback.run(cluster, options.command, options.cases, commits=options.commits, mutant=options.mutant)
        if options.command == reconcile.NAME:
            wanted = Options(options.delay, options.minutes, options.rounds)
            return reconcile.run(cluster, options.cases, wanted, options.mutant)
        if options.command == "soak":
            return soak.run(cluster, options.minutes, seed, options.driver, options.round_seed)
        chosen = [BY_NAME[name] for name in options.names] or list(GATE if options.gate else SCENARIOS)
        return matrix.run(cluster, chosen, options.repeat, seed, options.driver, options.run_seed)
    except (BenchmarkError, DrillError, HaError, LabError) as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the faults are healed, the next session mends the cluster")
        return 130


if __name__ == "__main__":
    sys.exit(main())
