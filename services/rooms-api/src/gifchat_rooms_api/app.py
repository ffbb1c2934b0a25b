"""The composition root: everything is built and wired here. Building does no I/O; the lifespan connects and stops."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pymongo
import structlog
from bson import ObjectId
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.adapters.argon2_passwords import Argon2Passwords
from gifchat_rooms_api.adapters.image_decoder import ImageDecoder
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_leadership import MongoLeadership
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits, RedisGrants, RedisRateLimits
from gifchat_rooms_api.adapters.redis_connection import telling_loss
from gifchat_rooms_api.adapters.redis_occupancy import RedisOccupancy
from gifchat_rooms_api.adapters.redis_publisher import RedisPublisher
from gifchat_rooms_api.adapters.signed_tokens import SignedTokens
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.edge import JSON_BODY_MAX_BYTES, BodyLimit, Methods, RequestMetrics
from gifchat_rooms_api.http.gifs import gif_files_router, gifs_router
from gifchat_rooms_api.http.health import health_router
from gifchat_rooms_api.http.internal_messages import internal_messages_router
from gifchat_rooms_api.http.internal_rooms import internal_router
from gifchat_rooms_api.http.messages import messages_router
from gifchat_rooms_api.http.moderation import moderation_router
from gifchat_rooms_api.http.problems import answer_with_problems, document_problems, problem, problems
from gifchat_rooms_api.http.rooms import rooms_router
from gifchat_rooms_api.ports import StoreClosedError, StoreUnavailableError
from gifchat_rooms_api.settings import Settings
from gifchat_rooms_api.use_cases.announce_heads import AnnounceHeads
from gifchat_rooms_api.use_cases.group_commit import GroupCommit
from gifchat_rooms_api.use_cases.issue_ticket import Admission, admitted_rule
from gifchat_rooms_api.use_cases.janitor import Janitor
from gifchat_rooms_api.use_cases.moderate_user import Moderation
from gifchat_rooms_api.use_cases.post_message import Messages
from gifchat_rooms_api.use_cases.read_history import History
from gifchat_rooms_api.use_cases.read_rooms import RoomRegistry
from gifchat_rooms_api.use_cases.upload_gif import Gifs

_DRAIN_S = 5.0
_PREPARE_AGAIN_S = 1.0
_CANCEL_AGAIN_S = 0.1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wired:
    """All that outlives a request, built and wired."""

    mongo: AsyncMongoClient[dict[str, Any]]
    redis: Redis
    room_store: MongoRooms
    log: MongoMessages
    gif_store: MongoGifs
    publisher: RedisPublisher
    image_decoder: ImageDecoder
    passwords: Argon2Passwords
    leaderships: tuple[MongoLeadership, ...]
    guards: Guards
    admission: Admission
    rooms: RoomRegistry
    moderation: Moderation
    commit: GroupCommit
    messages: Messages
    history: History
    gifs: Gifs
    janitor: Janitor
    announce_heads: AnnounceHeads
    prepared: asyncio.Event
    """The indexes are there."""


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application."""
    wired = _wire(settings)
    app = FastAPI(
        title="GIF Chat",
        summary="Rooms, messages and GIFs over HTTP.",
        version="1",
        lifespan=lambda _app: _lifespan(wired),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    _include_routes(app, wired)
    answer_with_problems(app)
    document_problems(app)
    app.add_middleware(Methods, routes=app.routes)
    app.add_middleware(BodyLimit, max_bytes=_body_limit)
    app.add_middleware(RequestMetrics)
    return app


def _wire(settings: Settings) -> _Wired:
    mongo = _mongo_client(settings.mongo_url)
    redis = _redis_client(settings.redis_url)

    room_store = MongoRooms(mongo, settings.mongo_database)
    log = MongoMessages(mongo, settings.mongo_database)
    gif_store = MongoGifs(mongo, settings.mongo_database)
    holder = f"{settings.node_name}.{secrets.token_hex(4)}"
    leads_janitor, leads_heads = (
        MongoLeadership(mongo, settings.mongo_database, task, holder) for task in ("janitor", "heads")
    )
    occupancy = RedisOccupancy(redis)
    publisher = RedisPublisher(redis)
    rate_limits = RedisRateLimits(redis, LocalRateLimits())
    passwords = Argon2Passwords()
    signatures = SignedTokens(settings.session_secrets)

    image_decoder = ImageDecoder()
    gifs = Gifs(gif_store, image_decoder, rate_limits, _now)
    commit = GroupCommit(room_store, log, publisher, _now)
    messages = Messages(
        room_store,
        commit,
        log,
        find_gif=gifs.for_message,
        new_entry_id=_new_object_id,
        rate_limits=LocalRateLimits(),
    )
    admission = Admission(
        rooms=room_store,
        occupancy=occupancy,
        grants=RedisGrants(redis),
        rate_limits=rate_limits,
        passwords=passwords,
        signatures=signatures,
        clock=_now,
    )
    rooms = RoomRegistry(
        store=room_store,
        log=log,
        messages=messages,
        occupancy=occupancy,
        publisher=publisher,
        passwords=passwords,
        rate_limits=rate_limits,
        clock=_now,
        new_room_id=lambda: RoomId(_new_object_id()),
    )
    janitor = Janitor(
        leadership=leads_janitor,
        store=room_store,
        rooms=rooms,
        log=log,
        occupancy=occupancy,
        remove_gifs=gifs.remove_unreferenced,
        clock=_now,
        empty_room_ttl_s=settings.empty_room_ttl,
        unreferenced_gif_ttl_s=settings.unreferenced_gif_ttl,
    )
    return _Wired(
        mongo=mongo,
        redis=redis,
        room_store=room_store,
        log=log,
        gif_store=gif_store,
        publisher=publisher,
        image_decoder=image_decoder,
        passwords=passwords,
        leaderships=(leads_janitor, leads_heads),
        guards=Guards(signatures, admission, settings.allowed_origins, settings.internal_token),
        admission=admission,
        rooms=rooms,
        moderation=Moderation(room_store, publisher, _now),
        commit=commit,
        messages=messages,
        history=History(log),
        gifs=gifs,
        janitor=janitor,
        announce_heads=AnnounceHeads(leads_heads, log, publisher, _now),
        prepared=asyncio.Event(),
    )


def _include_routes(app: FastAPI, wired: _Wired) -> None:
    async def refuse_until_prepared() -> None:
        # The unique indexes are what messages are numbered by: nothing is written before they are there.
        if not wired.prepared.is_set():
            raise Refused(errors.UNAVAILABLE)

    guards, room_store = wired.guards, wired.room_store
    ready = [Depends(refuse_until_prepared)]

    public = APIRouter(prefix="/api/v1", dependencies=[Depends(guards.same_origin), *ready])
    public.include_router(rooms_router(wired.rooms, wired.admission, caller=guards.caller))
    public.include_router(moderation_router(wired.moderation, clock=_now, caller=guards.caller))
    public.include_router(
        messages_router(
            wired.messages,
            wired.history,
            room_store,
            clock=_now,
            caller=guards.caller,
            reader_rule=guards.reader_rule,
            writer_rule=guards.writer_rule,
            problems=problems,
        )
    )
    public.include_router(
        gifs_router(
            wired.gifs,
            room_store,
            clock=_now,
            caller=guards.caller,
            writer_rule=guards.writer_rule,
            problems=problems,
        )
    )

    internal = APIRouter(prefix="/internal/v1", dependencies=ready)
    internal.include_router(
        internal_router(wired.rooms, wired.history, clock=_now, from_a_service=guards.from_a_service)
    )
    internal.include_router(
        internal_messages_router(
            wired.messages,
            wired.history,
            room_store,
            from_a_service=guards.from_a_service,
            member_rule=admitted_rule,
        )
    )

    app.include_router(public)
    app.include_router(internal)
    app.include_router(gif_files_router(wired.gifs, problem=problem, problems=problems), dependencies=ready)
    app.include_router(
        health_router(lambda: _mongo_answers(wired.mongo, wired.prepared), lambda: _redis_answers(wired.redis))
    )


@asynccontextmanager
async def _lifespan(wired: _Wired) -> AsyncIterator[None]:
    async def prepare() -> None:
        await _prepare(wired.room_store.create_indexes, wired.log.create_indexes, wired.gif_store.create_indexes)
        wired.prepared.set()

    async def once_prepared(work: Callable[[], Awaitable[None]]) -> None:
        await wired.prepared.wait()
        await work()

    tasks = {
        asyncio.create_task(prepare(), name="prepare"),
        asyncio.create_task(once_prepared(wired.janitor.work), name="janitor"),
        asyncio.create_task(once_prepared(wired.announce_heads.work), name="announce-heads"),
    }
    _log.info("started")
    try:
        yield
    finally:
        await _end(tasks)
        await _close(wired)
    _log.info("stopped")


async def _close(wired: _Wired) -> None:
    """Close the clients, after all tasks that use them have ended."""
    for leadership in wired.leaderships:
        await _give_up(leadership)
    try:
        await wired.commit.aclose(_DRAIN_S)
    except TimeoutError:
        _log.warning("stopped_with_unwritten_messages")
    await wired.publisher.aclose()
    await wired.image_decoder.aclose()
    wired.passwords.close()
    await wired.redis.aclose()
    await wired.mongo.close()


def _mongo_client(url: str) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(
        url,
        connect=False,
        tz_aware=True,
        appname="rooms-api",
        serverSelectionTimeoutMS=2_000,
        connectTimeoutMS=2_000,
        w="majority",
        journal=True,
        readConcernLevel="majority",
    )


def _redis_client(url: str) -> Redis:
    # Whoever waits for Redis waits for a person: one attempt more for a connection that went stale, and no longer.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=64,
        timeout=1.0,
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 1),
    )
    pool.connection_class = telling_loss(pool.connection_class)
    return Redis.from_pool(pool)


async def _prepare(*create_indexes: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            for create in create_indexes:
                await create()
        except StoreClosedError:
            raise
        except StoreUnavailableError as error:
            _log.warning("waiting_for_mongodb", error=str(error))
            await asyncio.sleep(_PREPARE_AGAIN_S)
        else:
            return


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    while running := {task for task in tasks if not task.done()}:
        # Repeat it: on Python 3.11 `asyncio.wait_for`, which the drivers use, can lose a cancellation.
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)


async def _give_up(leadership: MongoLeadership) -> None:
    try:
        await leadership.release()
    except StoreUnavailableError as error:
        _log.warning("leadership_not_released", error=str(error))


async def _mongo_answers(mongo: AsyncMongoClient[dict[str, Any]], prepared: asyncio.Event) -> bool:
    try:
        with pymongo.timeout(1.0):
            await mongo.admin.command("ping")
    except PyMongoError:
        return False
    return prepared.is_set()


async def _redis_answers(redis: Redis) -> bool:
    try:
        await redis.ping()
    except (RedisError, OSError):
        return False
    return True


def _body_limit(path: str) -> int:
    """Uploads bound themselves, by their own codes; this is what they stay below."""
    return 2 * limits.GIF_MAX_BYTES if path.endswith("/gifs") else JSON_BODY_MAX_BYTES


def _now() -> datetime:
    return datetime.now(UTC)


def _new_object_id() -> str:
    return str(ObjectId())


def _operation_id(route: APIRoute) -> str:
    return route.name
