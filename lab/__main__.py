"""``python -m lab``: see --help."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import docker.errors

from lab import collection_tree, config, engine, faults, hosts, image, inventory, verdict
from lab.errors import LabError
from lab.progress import say


def up(args: argparse.Namespace, conf: config.Config) -> int:
    client = engine.ensure()
    collection_tree.ensure()
    hosts.up(client, conf, lambda where, names: inventory.write(conf, where, names))
    return 0


def start_engine(args: argparse.Namespace, conf: config.Config) -> int:
    client = engine.ensure()
    say(f"Docker engine {client.version()['Version']} answers")
    return 0


def down(args: argparse.Namespace, conf: config.Config) -> int:
    client = engine.connect()
    if client is None:
        # Nothing of ours can run without it, but what it left behind would stay.
        if not conf.state.exists():
            return 0
        client = engine.ensure()
    hosts.down(client, conf)
    if args.command == "purge":
        image.purge(client)
    client.close()
    engine.stop_ours()
    conf.inventory.unlink(missing_ok=True)
    return 0


def status(args: argparse.Namespace, conf: config.Config) -> int:
    rows = hosts.status(engine.require(), conf)
    if not rows:
        raise LabError(f"lab {conf.name} has no hosts; run: make lab-up")
    print(f"lab {conf.name}, inventory {conf.inventory}")
    for row in rows:
        print(f"{row.name:10} {row.address:16} {row.container:9} system {row.system:10} mysql {row.mysql}")
    return 0


def shell(args: argparse.Namespace, conf: config.Config) -> int:
    client = engine.require()
    if args.command == "exec":
        if not args.remote:
            raise LabError("exec needs a command: python -m lab exec db1 -- systemctl status")
        print(hosts.execute(hosts.container(client, conf, args.host), args.remote))
        return 0
    net = hosts.find_network(client, conf)
    if net is None:
        raise LabError(f"lab {conf.name} is not up; run: make lab-up")
    net.reload()
    address = str(hosts.addresses(net).host(args.host))
    return subprocess.run([*hosts.ssh_command(conf, address), *args.remote], check=False).returncode


def fault(args: argparse.Namespace, conf: config.Config) -> int:
    if args.list or not args.name:
        for name, one in sorted(faults.FAULTS.items()):
            takes = "".join(f" [--{option}]" for option in one.takes)
            print(f"{name + takes:38} {one.description}")
        return 0
    if not args.host:
        raise LabError(f"on which host? python -m lab fault {args.name} db1")
    target = faults.Target(
        lab=faults.open_lab(conf),
        host=args.host,
        peer=args.peer,
        direction=args.direction,
        seconds=args.seconds,
        percent=args.percent,
        table=args.table,
    )
    took = faults.inject(target, args.name)
    say(f"{args.name} on {args.host}: in effect after {took:.2f} s; undo with: python -m lab heal {args.host}")
    return 0


def heal(args: argparse.Namespace, conf: config.Config) -> int:
    faults.heal(faults.open_lab(conf), args.host, args.fault)
    say(f"healed: {args.host or 'every host'}" + (f" ({args.fault})" if args.fault else ""))
    return 0


def show_verdict(args: argparse.Namespace, conf: config.Config) -> int:
    print(verdict.render(verdict.load(args.report)))
    return 0


def show_inventory(args: argparse.Namespace, conf: config.Config) -> int:
    if not conf.inventory.exists():
        raise LabError(f"{conf.inventory} is not there; run: make lab-up")
    print(conf.inventory.read_text(), end="")
    return 0


def tree(args: argparse.Namespace, conf: config.Config) -> int:
    print(collection_tree.ensure())
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m lab", description="Real MySQL hosts on one machine.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace, config.Config], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("up", "bring the lab up (installs and builds what is missing)", up)
    add("down", "remove hosts, network and data; stop the engine if a lab started it", down)
    add("purge", "down, and remove the lab images too", down)
    add("status", "what runs", status)
    add("engine", "only make sure that a Docker engine answers", start_engine)
    add("inventory", "print the inventory", show_inventory)
    add("collections", "make and print the collections path of this checkout", tree)
    for name, text in (
        ("ssh", "log in to a host, or run a command there, by SSH"),
        ("exec", "the same, past the network"),
    ):
        command = add(name, text, shell)
        command.add_argument("host")
        command.add_argument("remote", nargs=argparse.REMAINDER)
    command = add("fault", "inject a fault (--list shows them)", fault)
    command.add_argument("name", nargs="?", metavar="NAME")
    command.add_argument("host", nargs="?", metavar="HOST")
    command.add_argument("--list", action="store_true", help="show every fault")
    command.add_argument("--peer", help="the other host of a cut")
    command.add_argument("--direction", choices=("both", "out", "in"), default="both", help="of a cut, seen from HOST")
    command.add_argument("--seconds", type=int, default=faults.DEFAULT_STEP, help="of a clock step, may be negative")
    command.add_argument("--percent", type=int, default=faults.DEFAULT_PERCENT, help="of the time that a lock is held")
    command.add_argument("--table", default=faults.DEFAULT_TABLE, help="that the fault is about, SCHEMA.TABLE")
    command = add("heal", "undo faults: on one host or all, one fault or all", heal)
    command.add_argument("host", nargs="?", metavar="HOST")
    command.add_argument("--fault", metavar="NAME", help="only this one")
    command = add("verdict", "print what the last drill found", show_verdict)
    command.add_argument("report", nargs="?", type=Path, default=config.CHECKOUT / "build" / "drill" / "report.json")
    return top


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if getattr(args, "remote", None) and args.remote[0] == "--":
        args.remote = args.remote[1:]
    try:
        return int(args.run(args, config.load()))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except docker.errors.APIError as error:
        print(f"lab: the Docker engine refused: {error.explanation}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
