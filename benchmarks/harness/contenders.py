"""The contenders: how each server is started, and the form in which it receives a message from Redis.

Each gets the same chat event, on the channel that it subscribes to. So every server does what it does for a message
from another node. It reads the message from Redis, finds the members, and writes to each of them.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import machine
from benchmarks.harness.testbed import Contender, Testbed, with_environment
from benchmarks.harness.wire import Message, msgpack, resp
from benchmarks.peers.rooms_api_stand_in import EPOCH
from gifchat_cli.bench.generator import STAMP
from gifchat_contracts import events, keys
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.ids import Epoch, RoomId
from gifchat_testkit.crowds import ONE_ADDRESS

EVENT = "chat"
KERNEL_LIMIT = machine.BENCHMARKS / "kernel_limit.c"
ORIGINAL = machine.PEERS / "original" / "app.mjs"
MAX_ROOMS = 1_000_000
"""More than any benchmark uses."""
_SEQ_AT = 10
"""The offset of the seq in a frame, see `gifchat_contracts.codec`."""


def room_id(room: int) -> RoomId:
    """Return the id of a room, from its number."""
    return RoomId(f"{room + 1:024x}")


def payload(room: int) -> dict[str, Any]:
    """Return the chat event that all members receive."""
    return {
        "_id": "65f0c0ffee0123456789abcd",
        "room": room_id(room),
        "epoch": EPOCH,
        "seq": 1,
        "user": "#4da6ff",
        "user_id": "00112233445566778899aabb",
        "chat": STAMP,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "client_message_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    }


def _kernel_message(room: int) -> Message:
    text = f"42/chat,{json.dumps([EVENT, payload(room)], separators=(',', ':'))}".encode()
    frame = bytes((0x81, 126)) + len(text).to_bytes(2, "big") + text
    return Message.of(struct.pack("<II", room + 1, len(frame)) + frame)


def _kernel_command(_testbed: Testbed, port: int, control: int) -> list[str]:
    return [str(built(KERNEL_LIMIT)), str(port), str(control)]


def _gateway_message(room: int) -> Message:
    body = events.body(EVENT, payload(room))
    frame = encode(Frame(Kind.CHAT, body, Epoch(EPOCH), 1))
    bytes_ = resp("SPUBLISH", keys.room_channel(room_id(room)), frame)
    return Message.of(bytes_, seq_at=bytes_.index(frame) + _SEQ_AT)


def _gateway_command(
    testbed: Testbed,
    port: int,
    _control: int,
    *,
    python: str = sys.executable,
    module: str = "gifchat_realtime_gateway",
) -> list[str]:
    # The defaults, except for addresses and for what one address may send.
    environment = {
        "PORT": str(port),
        "REDIS_URL": testbed.valkey.url,
        "ROOMS_API_URL": f"http://127.0.0.1:{testbed.rooms_api_port}",
        "NODE_NAME": f"bench-{port}",
        **ONE_ADDRESS,
    }
    return with_environment(environment, [python, "-m", module])


def _engine_command(_testbed: Testbed, port: int, _control: int) -> list[str]:
    return with_environment(
        {"PORT": str(port), "PYTHONPATH": str(machine.ROOT), **ONE_ADDRESS},
        [sys.executable, "-m", "benchmarks.peers.engine_alone"],
    )


def _node_command(adapter: str) -> Callable[[Testbed, int, int], list[str]]:
    def command(testbed: Testbed, port: int, _control: int) -> list[str]:
        environment = {"PORT": str(port), "REDIS_URL": testbed.valkey.url, "ADAPTER": adapter, "NODE_ENV": "production"}
        return with_environment(environment, ["node", str(node_peer())])

    return command


def _node_options(room: int) -> dict[str, Any]:
    return {"rooms": [room_id(room)], "except": [], "flags": {}}


def _node_packet(room: int) -> dict[str, Any]:
    return {"type": 2, "data": [EVENT, payload(room)], "nsp": "/chat"}


def _node_classic_message(room: int) -> Message:
    content = msgpack(["bench", _node_packet(room), _node_options(room)])
    return Message.of(resp("PUBLISH", f"socket.io#/chat#{room_id(room)}#", content))


def _node_sharded_message(room: int) -> Message:
    content = {
        "uid": "bench",
        "nsp": "/chat",
        "type": 3,
        "data": {"opts": _node_options(room), "packet": _node_packet(room)},
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    return Message.of(resp("SPUBLISH", f"socket.io#/chat#{room_id(room)}#", text))


def _stock_command(deflate: str) -> Callable[[Testbed, int, int], list[str]]:
    def command(testbed: Testbed, port: int, _control: int) -> list[str]:
        environment = {
            "PORT": str(port),
            "REDIS_URL": testbed.valkey.url,
            "DEFLATE": deflate,
            "CHANNEL": _stock_channel(deflate),
            "PYTHONPATH": str(machine.ROOT),
        }
        return with_environment(environment, [sys.executable, "-m", "benchmarks.peers.stock_server"])

    return command


def _stock_channel(deflate: str) -> str:
    """Return a separate channel for each server. On a shared channel they would receive each other's messages."""
    return f"socketio-{deflate}"


def _stock_message(deflate: str) -> Callable[[int], Message]:
    def message(room: int) -> Message:
        content = {
            "method": "emit",
            "event": EVENT,
            "data": [payload(room)],
            "binary": False,
            "namespace": "/chat",
            "room": room_id(room),
            "skip_sid": None,
            "callback": None,
            "host_id": "bench",
        }
        return Message.of(resp("PUBLISH", _stock_channel(deflate), json.dumps(content).encode()))

    return message


KERNEL = Contender(
    "kernel",
    "kernel's limit: C, one `send` each",
    10,
    _kernel_message,
    _kernel_command,
    own_publish_port=True,
)
OURS = Contender(
    "ours",
    "GIF Chat's gateway",
    11,
    _gateway_message,
    _gateway_command,
    cookies=True,
    health="/health/ready",
)
ENGINE = Contender("engine", "GIF Chat's engine alone", 11, _gateway_message, _engine_command)
NODE = Contender(
    "node",
    "Node.js, Socket.IO, sharded Redis adapter",
    16,
    _node_sharded_message,
    _node_command("sharded"),
    warm_up_s=5,
)
NODE_CLASSIC = Contender(
    "node-classic",
    "the same, classic adapter",
    16,
    _node_classic_message,
    _node_command("classic"),
    warm_up_s=5,
)
STOCK = Contender(
    "stock",
    "stock python-socketio on uvicorn, deflate off",
    110,
    _stock_message("0"),
    _stock_command("0"),
)
STOCK_DEFLATE = Contender(
    "stock-deflate",
    "the same, uvicorn's default deflate",
    160,
    _stock_message("1"),
    _stock_command("1"),
    opaque=True,
)


def original(mongo_url: str) -> Contender:
    """Return the tutorial's chat, in one process with its own database. Messages reach it only by its own POST."""

    def command(_testbed: Testbed, port: int, _control: int) -> list[str]:
        database = _in_database(mongo_url, f"original_{port}")
        environment = {"PORT": str(port), "MONGO_URL": database, "NODE_ENV": "production"}
        return with_environment(environment, ["node", str(node_app(ORIGINAL))])

    def message(_room: int) -> Message:
        raise RuntimeError("messages reach the original by its own POST")

    return Contender("original", "the original", 16, message, command)


def _in_database(mongo_url: str, name: str) -> str:
    address, _, options = mongo_url.partition("/?")
    return f"{address}/{name}?{options}"


def checkouts(folders: Sequence[Path]) -> list[Contender]:
    """Return the gateways of other checkouts, each run in its own checkout's environment."""
    return [_checkout(folder, number) for number, folder in enumerate(folders, start=1)]


def _checkout(folder: Path, number: int) -> Contender:
    [package] = (folder / "services" / "realtime-gateway" / "src").glob("*/__main__.py")
    python = str(folder.resolve() / ".venv" / "bin" / "python")
    label = f"GIF Chat's gateway in {folder.name}"
    command = partial(_gateway_command, python=python, module=package.parent.name)
    return replace(OURS, name=f"checkout-{number}", label=label, command=command, first_room=number * MAX_ROOMS)


def built(source: Path) -> Path:
    """Compile a C file if its program is missing or older; return the program."""
    program = machine.BUILD / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        machine.BUILD.mkdir(exist_ok=True)
        made = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(made), str(source)], check=True)
        made.replace(program)
    return program


def node_app(app: Path) -> Path:
    """Install the packages in a Node.js program's folder if they are missing; return the program."""
    if not (app.parent / "node_modules").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=app.parent, check=True)
    return app


def node_peer() -> Path:
    """Return the Node.js server; the first call installs its packages."""
    if not (machine.PEERS / "node_modules" / "socket.io").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=machine.PEERS, check=True)
    return machine.PEERS / "node_server.mjs"
