"""The command `gifchat`: the whole system on this machine, without Docker."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gifchat_cli.bench.arguments import add_arguments
from gifchat_cli.blueprint import Blueprint, Size
from gifchat_cli.control import NotRunningError, RefusedError, Request, call
from gifchat_cli.data_folder import DataFolder
from gifchat_cli.kinds import SCALABLE, Kind
from gifchat_cli.logs import MAX_DAYS, Prefixes, for_terminal, tail
from gifchat_cli.prerequisites import PrerequisiteError
from gifchat_cli.supervisor import MAX_REPLICAS, START_TIMEOUT_S, STOP_TIMEOUT_S, ClusterError, Supervisor
from gifchat_cli.table import render_table
from gifchat_contracts import __version__

EXIT_OK, EXIT_FAILED, EXIT_PREREQUISITE = 0, 1, 2
_DEFAULT = Size()
_UP_COLUMNS = ("name", "kind", "port", "pid")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 for success, 1 for failure, 2 for a missing prerequisite or wrong arguments.
    """
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except PrerequisiteError as error:
        print(error, file=sys.stderr)
        return EXIT_PREREQUISITE
    except (ClusterError, RefusedError) as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except NotRunningError:
        print(
            f"GIF Chat is not running on the data folder {options.data}: "
            "start it with `gifchat up`, or name another folder with --data DIR.",
            file=sys.stderr,
        )
        return EXIT_FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gifchat", description="Run the whole system on this machine, without Docker."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("--data", type=Path, default=Path(".data"), metavar="DIR", help="data folder (default: .data)")

    up = commands.add_parser("up", parents=[data], help="start the cluster; Ctrl-C stops it")
    up.add_argument(
        "--gateways", type=_replicas, default=_DEFAULT.gateways, metavar="N", help="number of gateways (default: 3)"
    )
    up.add_argument(
        "--rooms-api", type=_replicas, default=_DEFAULT.rooms_api, metavar="N", help="number of rooms-api (default: 2)"
    )
    up.add_argument("--port", type=_port, default=_DEFAULT.port, metavar="P", help="public port (default: 8080)")
    up.add_argument(
        "--log-days",
        type=_days,
        default=MAX_DAYS,
        metavar="N",
        help=f"rotate logs after N days, and delete them after N more (default: {MAX_DAYS})",
    )
    up.add_argument("--detach", action="store_true", help="return when everything is ready; `gifchat down` stops it")
    up.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    up.set_defaults(run=_up)

    down = commands.add_parser("down", parents=[data], help="stop the cluster")
    down.set_defaults(run=_down)

    status = commands.add_parser("status", parents=[data], help="show all processes, their ports and sockets")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)

    scale = commands.add_parser("scale", parents=[data], help="change the number of gateways or of rooms-api")
    scale.add_argument(
        "target", type=_scale_target, metavar="KIND=N", help=f"{' or '.join(SCALABLE)}, for example gateways=5"
    )
    scale.set_defaults(run=_scale)

    drain = commands.add_parser("drain", parents=[data], help="move all sockets of a gateway to the others")
    drain.add_argument("name", metavar="NAME", help="a gateway, for example gateway-1; it stays empty until a restart")
    drain.set_defaults(run=_drain)

    shed = commands.add_parser("shed", parents=[data], help="move a share of a gateway's sockets to the others")
    shed.add_argument("name", metavar="NAME", help="a gateway, for example gateway-1")
    shed.add_argument("share", type=_share, metavar="PERCENT", help="for example 30%%")
    shed.set_defaults(run=_shed)

    restart = commands.add_parser("restart", parents=[data], help="restart one process, or all of a kind in turn")
    restart.add_argument(
        "what",
        type=_restart_target,
        metavar="KIND|NAME",
        help=f"{' or '.join(SCALABLE)}, or one name, for example gateway-2",
    )
    restart.set_defaults(run=_restart)

    bench = commands.add_parser(
        "bench",
        parents=[data],
        help="find out how many viewers the cluster holds",
        description="Connects viewers through the front door step by step, and posts to them until deliveries are "
        "late or lost. This is a load test: do not run it against a cluster that people use.",
    )
    add_arguments(bench)
    bench.set_defaults(run=_bench)

    logs = commands.add_parser("logs", parents=[data], help="print the log of one process")
    logs.add_argument(
        "name", metavar="NAME", help="a name from `gifchat status`, nginx-access, or supervisor (`up --detach`)"
    )
    logs.add_argument("-n", "--lines", type=_lines, default=200, metavar="N", help="number of lines (default: 200)")
    logs.set_defaults(run=_logs)
    return parser


def _replicas(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_REPLICAS:
        raise argparse.ArgumentTypeError(f"N must be a number from 1 to {MAX_REPLICAS}")
    return int(text)


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return int(text)


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3_650:
        raise argparse.ArgumentTypeError("must be a number of days from 1 to 3650")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError("must be a port from 1 to 65535")
    return int(text)


def _share(text: str) -> float:
    number = text.removesuffix("%")
    if not number.isdecimal() or not 1 <= int(number) <= 100:
        raise argparse.ArgumentTypeError("must be a share from 1% to 100%")
    return int(number) / 100


def _scale_target(text: str) -> tuple[str, int]:
    what, _, count = text.partition("=")
    if what not in SCALABLE:
        raise argparse.ArgumentTypeError(f"KIND must be {' or '.join(SCALABLE)}")
    return what, _replicas(count)


def _restart_target(text: str) -> str:
    kind, _, number = text.rpartition("-")
    if text not in SCALABLE and not (kind in SCALABLE.values() and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be {' or '.join(SCALABLE)}, or the name of one, for example gateway-2")
    return text


def _up(options: argparse.Namespace) -> int:
    folder = DataFolder(options.data)
    folder.create()
    if options.detach:
        return _up_detached(options, folder)
    return asyncio.run(_run_cluster(options, folder))


async def _run_cluster(options: argparse.Namespace, folder: DataFolder) -> int:
    folder.lock()  # This process holds the lock until it exits, and `gifchat down` waits for that.
    state = folder.load_state()
    size = Size(port=options.port, gateways=options.gateways, rooms_api=options.rooms_api)
    blueprint = Blueprint(size, folder, state, os.environ)
    folder.save_state(state)
    prefixes = Prefixes(colored=sys.stdout.isatty())

    def put(text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # The reader closed the pipe; the log files have everything.
            print(text, flush=True)

    def say(sentence: str) -> None:
        put(prefixes.line("gifchat", sentence))

    def show(name: str, kind: Kind, line: str) -> None:
        if (text := for_terminal(kind, line)) is not None:
            put(prefixes.line(name, text))

    def ignore(name: str, kind: Kind, line: str) -> None:
        """Print nothing: in the background, only the log files get the output."""

    def on_ready(processes: list[dict[str, Any]]) -> None:
        put(f"\n{render_table(processes, _UP_COLUMNS)}\n")
        say(f"Ready: {blueprint.url}" + ("" if options.in_background else " (Ctrl-C stops everything)"))

    on_line = ignore if options.in_background else show
    supervisor = Supervisor(blueprint, folder, state, on_line, say, log_days=options.log_days)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.request_stop)
    say(f"Starting on {blueprint.url}; data and logs in {folder.path}")
    await supervisor.run(on_ready)
    say("Stopped.")
    return EXIT_OK


def _up_detached(options: argparse.Namespace, folder: DataFolder) -> int:
    os.close(folder.lock())  # Fail early if a cluster is already running.
    log = folder.log("supervisor")
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [
                *(sys.executable, "-m", "gifchat_cli", "up", "--in-background"),
                *("--data", str(folder.path), "--port", str(options.port)),
                *("--gateways", str(options.gateways), "--rooms-api", str(options.rooms_api)),
                *("--log-days", str(options.log_days)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 2 * START_TIMEOUT_S
    while time.monotonic() < deadline:
        if (code := supervisor.poll()) is not None:
            print(log.read_text(errors="replace"), end="", file=sys.stderr)
            return code or EXIT_FAILED
        try:
            status = call(folder.socket_path(), {"command": "status"})
        except NotRunningError:
            status = {}
        if status.get("ready"):
            print(f"{render_table(status['processes'], _UP_COLUMNS)}\n\nReady: {status['url']}")
            return EXIT_OK
        time.sleep(0.1)
    supervisor.terminate()
    raise ClusterError(f"The cluster did not get ready; see {log}.")


def _down(options: argparse.Namespace) -> int:
    folder = DataFolder(options.data)
    if not folder.is_locked():
        print(f"GIF Chat is not running on the data folder {options.data}.")
        return EXIT_OK
    call(folder.socket_path(), {"command": "stop"})
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while folder.is_locked():
        if time.monotonic() > deadline:
            raise ClusterError(
                f"The cluster did not stop within {STOP_TIMEOUT_S:g} s; `gifchat status` shows what still runs."
            )
        time.sleep(0.05)
    print("Stopped.")
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    folder = DataFolder(options.data)
    try:
        status = call(folder.socket_path(), {"command": "status"})
    except NotRunningError:
        if not options.json:
            raise
        print(json.dumps({"running": False}))
        return EXIT_FAILED
    if options.json:
        print(json.dumps({"running": True, **{key: value for key, value in status.items() if key != "ok"}}, indent=2))
    else:
        print(
            f"{render_table(status['processes'])}\n\n{status['url']}" + ("" if status["ready"] else " (not ready yet)")
        )
    return EXIT_OK


def _scale(options: argparse.Namespace) -> int:
    what, count = options.target
    return _request(options, {"command": "scale", "what": what, "count": count}, timeout_s=2 * START_TIMEOUT_S)


def _drain(options: argparse.Namespace) -> int:
    return _request(options, {"command": "drain", "name": options.name})


def _shed(options: argparse.Namespace) -> int:
    return _request(options, {"command": "shed", "name": options.name, "share": options.share})


def _restart(options: argparse.Namespace) -> int:
    return _request(options, {"command": "restart", "what": options.what}, timeout_s=MAX_REPLICAS * START_TIMEOUT_S)


def _request(options: argparse.Namespace, request: Request, timeout_s: float = START_TIMEOUT_S) -> int:
    answer = call(DataFolder(options.data).socket_path(), request, timeout_s)
    print(render_table(answer["processes"]))
    return EXIT_OK


def _bench(options: argparse.Namespace) -> int:
    from gifchat_cli.bench import command  # noqa: PLC0415 - its imports would delay the other commands

    return command.run(options)


def _logs(options: argparse.Namespace) -> int:
    folder = DataFolder(options.data)
    names = sorted(path.stem for path in folder.logs.glob("*.log"))
    if options.name not in names:
        known = ", ".join(names) or "none yet"
        print(f"There is no log named {options.name} in {folder.logs}; logs: {known}.", file=sys.stderr)
        return EXIT_FAILED
    print("\n".join(tail(folder.log(options.name), options.lines)))
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
