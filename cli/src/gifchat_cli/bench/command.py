"""The command: checks the address, grows the audience, cleans up and prints the result."""

import argparse
import json
import shlex
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from gifchat_cli.bench import machine, page
from gifchat_cli.bench.arguments import DEFAULT_URL
from gifchat_cli.bench.audience import Address, Audience, AudienceError, audience
from gifchat_cli.bench.generator import GeneratorError
from gifchat_cli.bench.progress import Progress
from gifchat_cli.bench.ramp import Plan, Step, Stop, held, verdict
from gifchat_cli.bench.visitor import BadAddressError, FrontDoor
from gifchat_cli.control import Answer, NotRunningError, call
from gifchat_cli.data_folder import DataFolder

_EXIT_OK, _EXIT_FAILED, _EXIT_INTERRUPTED = 0, 1, 130


def run(options: argparse.Namespace) -> int:
    """Run the bench.

    Returns:
        The exit code: 0 for a result, even a bad one; 1 if GIF Chat or the load generator fails; 130 after Ctrl-C.

    Raises:
        PrerequisiteError: the load generator cannot be built.
    """
    options.url = options.url or _embedded_cluster(options.data).get("url", DEFAULT_URL)
    try:
        address = _address(options.url)
        with FrontDoor(options.url) as door:
            door.check()
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Clean up as after Ctrl-C.
            result = _ramp(options, door, address)
    except (BadAddressError, GeneratorError) as error:
        print(error, file=sys.stderr)
        return _EXIT_FAILED
    except KeyboardInterrupt:  # Nothing was measured yet.
        return _EXIT_INTERRUPTED
    print(json.dumps(asdict(result), indent=2, ensure_ascii=False) if options.json else page.render(result))
    return _EXIT_INTERRUPTED if result.stopped_by is Stop.INTERRUPTED else _EXIT_OK


def _address(url: str) -> Address:
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path not in ("", "/"):
        raise BadAddressError(
            f"{url}: an address looks like {DEFAULT_URL}. The load generator has no TLS: "
            "if a proxy in front of nginx terminates it, give the address of nginx."
        )
    try:
        ip = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise BadAddressError(f"{parts.hostname} has no IPv4 address ({error.strerror}): check --url.") from error
    return Address(str(ip), parts.hostname, port)


def _ramp(options: argparse.Namespace, door: FrontDoor, address: Address) -> page.Result:
    sockets = machine.max_sockets()
    max_viewers = options.max if sockets is None else min(options.max, sockets)
    plan = Plan(min(options.step, max_viewers), max_viewers, options.p99)
    room_size = options.room_size or max_viewers
    cluster = _cluster(options.data, address)
    progress = Progress(max_viewers)
    steps: list[Step] = []
    stop, why, gateways = Stop.INTERRUPTED, "Ctrl-C.", 0
    try:
        with progress.shown(), audience(door, address, room_size, progress.say) as viewers:
            try:
                stop, why = _climb(viewers, plan, options, steps, progress)
            finally:
                gateways = viewers.gateways
    except KeyboardInterrupt:
        progress.say("Stopped by Ctrl-C; the rooms are removed.")
    if stop is Stop.MAX and max_viewers < options.max:
        stop = Stop.FILES
        why = (
            f"the open-file limit allows {max_viewers:,} sockets per process. The soft limit already equals the hard "
            "limit: raise the hard limit (`ulimit -Hn`) for more."
        )
    best = held(steps, plan)
    return page.Result(
        url=options.url,
        viewers=best.viewers if best else 0,
        deliveries_per_s=best.deliveries_per_s if best else 0.0,
        p50_ms=best.p50_ms if best else None,
        p99_ms=best.p99_ms if best else None,
        stopped_by=stop,
        why=why,
        machine=machine.facts(),
        cluster=cluster,
        gateways=gateways,
        room_size=room_size,
        rooms=-(-steps[-1].viewers // room_size) if steps else 1,
        rate=options.rate,
        hold_s=options.hold,
        p99_limit_ms=options.p99,
        steps=steps,
        repeat=_repeat_command(options),
    )


def _climb(
    viewers: Audience, plan: Plan, options: argparse.Namespace, steps: list[Step], progress: Progress
) -> tuple[Stop, str]:
    """Grow the audience step by step until a step fails or is the last one."""
    for target in plan.targets():
        progress.begin_step(target)
        try:
            viewers.grow_to(target)
            step = viewers.write(options.rate, options.hold, progress.part)
        except AudienceError as error:
            why = str(error).rstrip(".")
            return Stop.REFUSED, f"at {viewers.viewers:,} of {target:,} viewers, {why}.{_hint(why)}"
        steps.append(step)
        progress.end_step(step)
        stop = verdict(step, plan)
        if stop is not None:
            return stop, _why(stop, step, plan)
    raise AssertionError("the last target is the plan's maximum")


def _why(stop: Stop, step: Step, plan: Plan) -> str:
    if stop is Stop.LATE:
        return f"at {step.viewers:,} viewers p99 was {step.p99_ms:.1f} ms, above {plan.p99_ms:g} ms."
    if stop is Stop.LOSS:
        return (
            f"at {step.viewers:,} viewers {step.lost:,} of {step.expected:,} deliveries were lost, "
            f"{step.out_of_order:,} arrived out of order or twice, and {step.lost_viewers:,} connections broke."
        )
    return f"{step.viewers:,} viewers is the maximum of this run: raise it with --max."


def _hint(why: str) -> str:
    """Suggest a remedy for a refusal."""
    if " 429" in why:
        return (
            " nginx limits the requests and connections per address (REQUESTS_PER_SECOND, CONNECTIONS_PER_ADDRESS: "
            "deploy/nginx/README.md), and all viewers of a bench come from this machine. Raise the limits for a test, "
            "but not in production."
        )
    if "hung up" in why or "reset" in why:
        return " See `gifchat logs nginx`: it may have run out of connections or files. Each viewer takes two."
    return ""


def _cluster(data: Path, address: Address) -> dict[str, int] | None:
    """Count the processes of the data folder's embedded cluster, if the bench measured that cluster."""
    status = _embedded_cluster(data)
    if not status or not address.ip.startswith("127.") or urlsplit(status["url"]).port != address.port:
        return None
    counts: dict[str, int] = {}
    for process in status["processes"]:
        if process["ready"] and process["kind"] in ("gateway", "rooms-api"):
            counts[process["kind"]] = counts.get(process["kind"], 0) + 1
    return counts


def _embedded_cluster(data: Path) -> Answer:
    """Return the status of the data folder's embedded cluster, or `{}` if it is not running."""
    try:
        return call(DataFolder(data).socket_path(), {"command": "status"})
    except NotRunningError:
        return {}


def _repeat_command(options: argparse.Namespace) -> str:
    words = ["gifchat", "bench", "--url", options.url]
    if options.room_size:
        words += ["--room-size", str(options.room_size)]
    words += ["--rate", f"{options.rate:g}", "--p99", f"{options.p99:g}", "--step", str(options.step)]
    return shlex.join([*words, "--max", str(options.max), "--hold", f"{options.hold:g}"])
