"""python-socketio still has and calls the internals that `socketio.overrides` overrides or uses."""

import ast
import inspect
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import socketio
from packaging.requirements import Requirement
from socketio import packet as library_packets
from socketio.async_manager import AsyncManager

from gifchat_contracts.ids import Pid
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.engine.protocol import Action
from gifchat_realtime_gateway.engine.server import EngineServer
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio import packet as packets
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.overrides import GOODBYE, ChatServer, Packet, SessionTable
from gifchat_realtime_gateway.socketio.server import create_server

SERVICE = Path(__file__).parents[3] / "services/realtime-gateway"

OVERRIDDEN: dict[type, dict[str, list[str]]] = {
    ChatServer: {
        "_engineio_server_class": [],
        "_handle_eio_message": ["eio_sid", "data"],
        "_trigger_event": ["event", "namespace", "args"],
        "_send_packet": ["eio_sid", "pkt"],
        "_send_eio_packet": ["eio_sid", "eio_pkt"],
    },
    SessionTable: {
        "basic_enter_room": ["sid", "namespace", "room", "eio_sid"],
        "pre_disconnect": ["sid", "namespace"],
        "basic_disconnect": ["sid", "namespace", "kwargs"],
        "get_participants": ["namespace", "room"],
    },
    Packet: {
        "data_is_binary": ["data"],
        "encode": [],
        "decode": ["encoded_packet"],
        "reconstruct_binary": ["data", "attachments"],
    },
}
"""The methods that each of our classes overrides, with the library's parameters."""
USED: dict[type, dict[str, list[str]]] = {
    socketio.AsyncServer: {
        "_handle_connect": ["eio_sid", "namespace", "data"],
        "_handle_disconnect": ["eio_sid", "namespace", "reason"],
    },
    AsyncManager: {
        "basic_leave_room": ["sid", "namespace", "room"],
        "eio_sid_from_sid": ["sid", "namespace"],
        "is_connected": ["sid", "namespace"],
        "sid_from_eio_sid": ["eio_sid", "namespace"],
        "trigger_callback": ["sid", "id", "data"],
    },
    library_packets.Packet: {"add_attachment": ["attachment"]},
}
"""The undocumented methods of each library class that we call, with their parameters."""
LIBRARY: dict[type, type] = {
    ChatServer: socketio.AsyncServer,
    SessionTable: AsyncManager,
    Packet: library_packets.Packet,
}
METHODS = [
    *((LIBRARY[ours], name, parameters) for ours, names in OVERRIDDEN.items() for name, parameters in names.items()),
    *((library, name, parameters) for library, names in USED.items() for name, parameters in names.items()),
]


@pytest.mark.parametrize(("library", "name", "parameters"), METHODS, ids=lambda value: getattr(value, "__name__", None))
def test_the_library_has_the_method_with_these_parameters(library: type, name: str, parameters: list[str]) -> None:
    found = list(inspect.signature(getattr(library, name)).parameters)
    assert [parameter for parameter in found if parameter != "self"] == parameters


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_an_override_is_a_coroutine_where_the_librarys_method_is(ours: type) -> None:
    for name in OVERRIDDEN[ours]:
        expected = inspect.iscoroutinefunction(getattr(LIBRARY[ours], name))
        assert inspect.iscoroutinefunction(getattr(ours, name)) is expected, name


@pytest.mark.parametrize("ours", OVERRIDDEN, ids=lambda ours: ours.__name__)
def test_no_other_method_of_the_library_is_overridden(ours: type) -> None:
    subclasses = [ours, *ours.__subclasses__()]
    overridden = {
        name
        for each in subclasses
        for name, value in vars(each).items()
        if hasattr(LIBRARY[ours], name) and isinstance(value, FunctionType | classmethod | staticmethod | property)
    }
    assert overridden - {"__init__"} == set(OVERRIDDEN[ours])


def test_only_one_module_imports_the_library() -> None:
    importing = set()
    for path in (SERVICE / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if any(name.split(".")[0] in ("socketio", "engineio") for name in names):
                importing.add(path.stem)
    assert importing == {"overrides"}


def test_the_installed_release_is_one_that_the_service_allows() -> None:
    """The service must allow the installed release, and have a lower and an upper bound."""
    project = tomllib.loads((SERVICE / "pyproject.toml").read_text())["project"]
    stated = {requirement.name: requirement for requirement in map(Requirement, project["dependencies"])}
    for name in ("python-socketio", "python-engineio"):
        specifier = stated[name].specifier
        assert version(name) in specifier
        assert {part.operator for part in specifier} == {">=", "<"}


def test_packet_types_have_the_librarys_numbers() -> None:
    for name in library_packets.packet_names:
        assert getattr(packets, name) == getattr(library_packets, name)


class Client:
    """A client of a server without a network."""

    def __init__(self, server: ChatServer, eio_sid: str = "connection") -> None:
        self._server = server
        self._connection = server.eio.add(eio_sid, {"REMOTE_ADDR": "203.0.113.7"}, None)

    async def send(self, *packets_: str | bytes) -> None:
        """Send packets and wait until the server has handled them."""
        for packet in packets_:
            self._connection.receive(Action.MESSAGE, packet)
            await self._connection.wait_until_idle()

    async def close(self) -> None:
        """Close the connection and wait until the server has handled the disconnect."""
        self._connection.close("transport close")
        await self._server.eio.wait_for_disconnects()

    async def received(self) -> list[str | bytes]:
        """Return what the server has sent since the last call."""
        self._connection.send("4end")
        heard: list[str | bytes] = []
        while heard[-1:] != ["4end"]:
            heard += await self._connection.poll()
        return heard[:-1]


def new_server() -> ChatServer:
    return create_server(Settings(), ClientManager(), lambda: False, SignedTokens(["secret"]))


@pytest.fixture
def server() -> ChatServer:
    return new_server()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> set[tuple[type, str]]:
    """The overrides that python-socketio itself has called."""
    calls: set[tuple[type, str]] = set()

    def spied(ours: type, name: str) -> Callable[..., Any]:
        method = inspect.getattr_static(ours, name)
        function = getattr(method, "__func__", method)

        def spy(*arguments: Any, **named: Any) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith("socketio."):
                calls.add((ours, name))
            return function(*arguments, **named)

        return classmethod(spy) if isinstance(method, classmethod) else spy  # type: ignore[return-value]

    for ours, names in OVERRIDDEN.items():
        for name in names:
            monkeypatch.setattr(ours, name, spied(ours, name))
    return calls


async def test_the_library_calls_every_override(called: set[tuple[type, str]]) -> None:
    server = new_server()
    server.on("connect", _accept, namespace="/")
    server.on("disconnect", _accept, namespace="/")
    client = Client(server)
    await client.send("0", '51-["e",{"_placeholder":true,"num":0}]', b"attachment")
    await server.emit("e", {"to": "all"}, namespace="/")
    await client.close()
    expected = {(ours, name) for ours, names in OVERRIDDEN.items() for name in names}
    # The engine calls this one, as another test shows.
    assert expected - called == {(ChatServer, "_handle_eio_message")}


async def _accept(*_arguments: Any) -> None:
    """Accept any arguments."""


async def test_the_library_registers_our_message_handler_with_our_engine(server: ChatServer) -> None:
    assert type(server.eio) is EngineServer
    assert server.eio._handlers["message"] == server._handle_eio_message


async def test_a_handler_that_raises_a_type_error_is_called_once(server: ChatServer) -> None:
    calls = []

    async def fail(*arguments: Any) -> None:
        calls.append(arguments)
        raise TypeError

    server.on("e", fail, namespace="/")
    server.on("connect", _accept, namespace="/")
    client = Client(server)
    await client.send("0", '2["e"]')
    assert len(calls) == 1


async def test_a_failing_disconnect_handler_does_not_keep_the_session(server: ChatServer) -> None:
    async def fail(*_arguments: Any) -> None:
        raise RuntimeError

    server.on("connect", _accept, namespace="/")
    server.on("disconnect", fail, namespace="/")
    client = Client(server)
    await client.send("0")
    assert len(server.manager.sessions("/")) == 1
    await client.close()
    assert server.manager.sessions("/") == {}


async def test_the_answer_to_connect_carries_the_private_id_and_comes_before_any_event(server: ChatServer) -> None:
    async def connect(sid: str, _environ: dict[str, Any], _auth: Any) -> None:
        server.pids[sid] = Pid("private")
        await server.emit("early", to=sid, namespace="/")

    server.on("connect", connect, namespace="/")
    client = Client(server)
    await client.send("0")
    answer, event = await client.received()
    (sid,) = server.manager.sessions("/")
    assert answer == f'40{{"sid":"{sid}","pid":"private"}}'
    assert event == '42["early"]'


async def test_a_session_is_one_entry_and_is_forgotten_without_a_trace(server: ChatServer) -> None:
    reasons = []

    async def disconnect(_sid: str, reason: str) -> None:
        assert type(server.manager.pending_disconnect["/"]) is set
        reasons.append(reason)

    server.on("connect", _accept, namespace="/")
    server.on("disconnect", disconnect, namespace="/")
    client = Client(server)
    await client.send("0")
    assert [list(rooms) for rooms in server.manager.rooms.values()] == [[None]]
    await client.send("1")
    assert reasons == [GOODBYE]
    manager = server.manager
    assert [manager.rooms, manager.callbacks, manager.pending_connect, manager.pending_disconnect] == [{}] * 4


async def test_an_ack_reaches_the_callback_of_its_emit(server: ChatServer) -> None:
    answers = []

    async def answered(*answer: Any) -> None:
        answers.append(answer)

    server.on("connect", _accept, namespace="/")
    client = Client(server)
    await client.send("0")
    (sid,) = server.manager.sessions("/")
    await server.emit("question", to=sid, namespace="/", callback=answered)
    await client.send('31["yes",2]')
    assert answers == [("yes", 2)]


async def test_an_encoded_answer_is_acked_as_it_is(server: ChatServer) -> None:
    async def answer(_sid: str, *_arguments: Any) -> packets.EncodedJson:
        return packets.EncodedJson('{ "chat":"안녕"}')

    server.on("connect", _accept, namespace="/")
    server.on("e", answer, namespace="/")
    client = Client(server)
    await client.send("0", '27["e"]')
    assert (await client.received())[-1] == '437[{ "chat":"안녕"}]'
