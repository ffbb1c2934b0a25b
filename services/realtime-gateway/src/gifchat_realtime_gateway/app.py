"""The composition root: builds and wires everything. The lifespan runs the tasks, which open the connections."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from gifchat_chassis.answer_headers import AnswerHeaders
from gifchat_chassis.background_tasks import ShutdownHook, Task, background_tasks
from gifchat_chassis.health import health_routes
from gifchat_chassis.redis_connections import redis_client
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_chassis.revocations import FollowRevocations
from gifchat_contracts import keys, limits
from gifchat_contracts.ids import NodeId, RoomId, new_node_id
from gifchat_realtime_gateway import metrics
from gifchat_realtime_gateway.adapters.redis_feed import RedisFeed
from gifchat_realtime_gateway.adapters.redis_nodes import RedisNodes
from gifchat_realtime_gateway.adapters.redis_publisher import RedisPublisher
from gifchat_realtime_gateway.adapters.redis_saved_sessions import RedisSavedSessions
from gifchat_realtime_gateway.adapters.redis_seats import RedisSeats
from gifchat_realtime_gateway.adapters.rooms_api_client import RoomsApiClient
from gifchat_realtime_gateway.adapters.signed_tokens import SignedTokens
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.refused_addresses import RefusedAddresses
from gifchat_realtime_gateway.domain.unknown_rooms import UnknownRooms
from gifchat_realtime_gateway.engine.relay import RELAY_PATH, Relay
from gifchat_realtime_gateway.engine.sid import node_tag
from gifchat_realtime_gateway.engine.write_loop import WRITE_LOOP
from gifchat_realtime_gateway.http.admin import admin_routes
from gifchat_realtime_gateway.http.client_bundle import ClientBundle
from gifchat_realtime_gateway.http.websocket_demo import WebSocketDemo
from gifchat_realtime_gateway.settings import Settings
from gifchat_realtime_gateway.socketio.chat import ChatNamespace, JoinCosts
from gifchat_realtime_gateway.socketio.client_manager import ClientManager
from gifchat_realtime_gateway.socketio.demo import DemoNamespace
from gifchat_realtime_gateway.socketio.lobby import LobbyNamespace
from gifchat_realtime_gateway.socketio.overrides import SocketIOApp
from gifchat_realtime_gateway.socketio.server import create_server
from gifchat_realtime_gateway.use_cases.announce_presence import AnnouncePresence
from gifchat_realtime_gateway.use_cases.canary import Canary
from gifchat_realtime_gateway.use_cases.catch_up import CatchUp
from gifchat_realtime_gateway.use_cases.check_ready import CheckReady
from gifchat_realtime_gateway.use_cases.close_revoked import CloseRevoked
from gifchat_realtime_gateway.use_cases.drain_node import DrainNode
from gifchat_realtime_gateway.use_cases.evict_sessions import EvictSessions
from gifchat_realtime_gateway.use_cases.fan_out import FanOut
from gifchat_realtime_gateway.use_cases.frame_router import FrameRouter
from gifchat_realtime_gateway.use_cases.host_rooms import HostRooms
from gifchat_realtime_gateway.use_cases.join_room import JoinRoom
from gifchat_realtime_gateway.use_cases.leave_room import LeaveRoom
from gifchat_realtime_gateway.use_cases.limit_seats import LimitSeats
from gifchat_realtime_gateway.use_cases.renew_leases import RenewLeases
from gifchat_realtime_gateway.use_cases.repair_rooms import RepairRooms
from gifchat_realtime_gateway.use_cases.restore_session import RestoreSession
from gifchat_realtime_gateway.use_cases.save_sessions import SaveSessions
from gifchat_realtime_gateway.use_cases.send_message import SendMessage
from gifchat_realtime_gateway.use_cases.sweep_seats import SweepSeats
from gifchat_realtime_gateway.use_cases.tell_lobby import TellLobby

REDIS_CONNECTIONS = 72
"""More than the adapters use concurrently, so no command waits for a connection."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The service: an ASGI application, its protocols for uvicorn, and a way to drain it."""

    app: ASGIApp
    http_protocol: Callable[..., asyncio.Protocol]
    websocket_protocol: Callable[..., asyncio.Protocol]
    drain: Callable[[], Awaitable[None]]
    failed: asyncio.Event
    """Set when a background task has died. The node then drains and exits with an error."""


def create_gateway(settings: Settings) -> Gateway:
    """Build and wire everything."""
    node_id = new_node_id(settings.node_name)
    redis = redis_client(settings.redis_url, max_connections=REDIS_CONNECTIONS)
    rooms_api = RoomsApiClient(settings.rooms_api_url, settings.internal_token)
    signatures = SignedTokens(settings.session_secrets)
    publisher = RedisPublisher(redis)
    canary = Canary(publisher, keys.canary_channel(node_id))
    seats = RedisSeats(
        redis,
        node_id,
        limits.LEASE_TTL_S,
        settings.seat_grace,
        recovering_s=limits.RECOVERING_S,
        readmission_s=limits.READMISSION_S,
        guest_grace_s=min(settings.guest_seat_grace, settings.seat_grace),
    )
    tag = node_tag(node_id)
    nodes = RedisNodes(
        redis,
        tag,
        settings.relay_address or (settings.host, settings.port),
        lease_s=limits.LEASE_TTL_S,
        remembered_s=settings.seat_grace,
    )
    relay = Relay(
        tag,
        nodes,
        settings.internal_token,
        poll_timeout_s=settings.ping_interval + settings.ping_timeout,
        on_request=metrics.RELAYED.labels("polling").inc,
        on_socket=metrics.RELAYED.labels("websocket").inc,
    )
    sockets = ClientManager(relay)
    revoke = CloseRevoked(sockets)
    drain = DrainNode(sockets, seats, settings.drain_seconds)
    server = create_server(
        settings, sockets, lambda: drain.moving or canary.deaf, signatures, relay, revoked=revoke.revoked
    )

    rooms: dict[RoomId, HostedRoom] = {}
    announce = AnnouncePresence(publisher)
    evict = EvictSessions(sockets, rooms, seats, announce, _now)
    renew = RenewLeases(seats, evict)
    fan_out = FanOut(sockets, rooms, renew.serves)
    repair = RepairRooms(rooms_api, fan_out, rooms)
    unknown = UnknownRooms(settings.unknown_room_seconds)
    lobby = TellLobby(sockets, rooms, unknown)

    router = FrameRouter(rooms, fan_out, repair, evict, lobby=lobby, canary=canary, on_revoked=revoke.revoke)
    feed = RedisFeed(
        redis.connection_pool.make_connection,
        router,
        always=[keys.LOBBY_CHANNEL, keys.REVOCATIONS_CHANNEL, canary.channel],
    )
    hosts = HostRooms(feed, rooms_api, rooms, router, evict, sockets.group, unknown)
    leave = LeaveRoom(seats, rooms, announce)
    limit_seats = LimitSeats(
        seats,
        per_address=settings.seats_per_address,
        guests_per_address=settings.guest_seats_per_address,
        grace_s=settings.seat_grace,
    )
    join = JoinRoom(
        hosts=hosts,
        rooms=rooms,
        seats=seats,
        signatures=signatures,
        catch_up=CatchUp(rooms_api, repair),
        announce=announce,
        leave=leave,
        limit_seats=limit_seats,
        clock=_now,
    )
    send = SendMessage(
        rooms_api,
        publisher,
        rooms,
        renew.serves,
        hosts.record,
        time.monotonic,
        _now,
        RefusedAddresses(settings.message_refusal_seconds),
    )
    saved = RedisSavedSessions(redis)
    save = SaveSessions(saved, rooms, own_tag=tag, grace_s=settings.seat_grace)
    restore = RestoreSession(saved, nodes, join, sockets)
    check_ready = CheckReady(seats, draining=lambda: drain.draining, hears=lambda: feed.hears and not canary.deaf)

    revoke.tell = ChatNamespace(
        server,
        sockets=sockets,
        join=join,
        leave=leave,
        send=send,
        save=save,
        restore=restore,
        costs=JoinCosts(settings.join_packets, settings.unknown_room_packets),
    ).tell_revoked
    LobbyNamespace(server)
    demo = DemoNamespace(server, sockets.broadcast)
    websocket_demo = WebSocketDemo(
        settings.node_name,
        settings.allowed_origins,
        _now,
        draining=lambda: drain.draining,
        online=lambda: len(server.eio.connections),
    )
    metrics.SOCKETS.set_function(lambda: len(server.eio.connections))

    async def watch_canary() -> None:
        await canary.run(on_deaf=feed.restart)

    tasks = (
        server.eio.run,
        nodes.run,
        feed.run,
        revoke.run,
        FollowRevocations(revoke.revoked, rooms_api.revocations, settings.revocation_read_seconds, revoke.close).run,
        watch_canary,
        renew.run,
        limit_seats.run,
        save.run,
        SweepSeats(seats, announce).run,
        announce.run,
        fan_out.run,
        repair.run,
        hosts.run,
        lobby.run,
        demo.run,
        websocket_demo.run,
    )
    shutdown_hooks = (
        repair.aclose,
        server.shutdown,
        save.settle,
        relay.aclose,
        nodes.release,
        rooms_api.aclose,
        publisher.aclose,
        seats.aclose,
        redis.aclose,
    )

    failed = asyncio.Event()

    async def drain_all() -> None:
        await drain.drain()
        await websocket_demo.close()

    plain_routes = [
        *health_routes(lambda: _readiness(check_ready, len(server.eio.connections))),
        *admin_routes(drain_all, drain.shed, settings.internal_token),
    ]
    routes = [
        # Relayed requests bypass the middleware, because they are as frequent as polls.
        Route(RELAY_PATH, server.eio.polling),
        websocket_demo.route(),
        Mount(
            "/",
            routes=plain_routes,
            middleware=[Middleware(AnswerHeaders), Middleware(RequestMetrics, service="realtime-gateway")],
        ),
    ]
    app = SocketIOApp(
        server, Starlette(routes=routes, lifespan=lambda _app: _lifespan(node_id, tasks, shutdown_hooks, failed))
    )
    return Gateway(ClientBundle(app), server.eio.http_protocol, server.eio.websocket_protocol, drain_all, failed)


@asynccontextmanager
async def _lifespan(
    node_id: NodeId, tasks: Sequence[Task], shutdown_hooks: Sequence[ShutdownHook], failed: asyncio.Event
) -> AsyncIterator[None]:
    async with background_tasks(tasks, shutdown_hooks, failed):
        _log.info("started", node_id=node_id, write_loop=WRITE_LOOP)
        yield
    _log.info("stopped")


async def _readiness(check: CheckReady, sockets: int) -> tuple[int, dict[str, str | int]]:
    status = await check.status()
    return 200 if status == "ok" else 503, {"status": status, "sockets": sockets}


def _now() -> datetime:
    return datetime.now(UTC)
