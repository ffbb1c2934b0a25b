"""The composition root: builds and wires everything. Building does no I/O; the lifespan connects and stops."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import pymongo
import structlog
from bson import ObjectId
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gifchat_chassis.background_tasks import ShutdownHook, background_tasks
from gifchat_chassis.health import health_routes
from gifchat_chassis.http_methods import Methods
from gifchat_chassis.redis_connections import redis_client
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.adapters.argon2_passwords import Argon2Passwords
from gifchat_rooms_api.adapters.image_decoder import ImageDecoder
from gifchat_rooms_api.adapters.mongo_blobs import MongoBlobs
from gifchat_rooms_api.adapters.mongo_connection import Document, mongo_client
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifs
from gifchat_rooms_api.adapters.mongo_leadership import MongoLeadership
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits, RedisGrants, RedisRateLimits
from gifchat_rooms_api.adapters.redis_occupancy import RedisOccupancy
from gifchat_rooms_api.adapters.redis_publisher import RedisPublisher
from gifchat_rooms_api.adapters.signed_tokens import SignedTokens
from gifchat_rooms_api.http.body_limit import JSON_BODY_MAX_BYTES, BodyLimit
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.gifs import gif_files_router, gifs_router
from gifchat_rooms_api.http.internal_messages import internal_messages_router
from gifchat_rooms_api.http.internal_rooms import internal_rooms_router
from gifchat_rooms_api.http.messages import messages_router
from gifchat_rooms_api.http.moderation import moderation_router
from gifchat_rooms_api.http.problems import answer_with_problems, document_problems
from gifchat_rooms_api.http.rooms import rooms_router, tickets_router
from gifchat_rooms_api.ports import BlobId, StoreClosedError, StoreUnavailableError
from gifchat_rooms_api.settings import Settings
from gifchat_rooms_api.use_cases.announce_heads import AnnounceHeads
from gifchat_rooms_api.use_cases.check_access import CheckAccess
from gifchat_rooms_api.use_cases.create_room import CreateRoom
from gifchat_rooms_api.use_cases.delete_message import DeleteMessage
from gifchat_rooms_api.use_cases.edit_room import EditRoom
from gifchat_rooms_api.use_cases.group_commit import GroupCommit
from gifchat_rooms_api.use_cases.issue_ticket import IssueTicket
from gifchat_rooms_api.use_cases.janitor import Janitor
from gifchat_rooms_api.use_cases.moderate_user import ModerateUser
from gifchat_rooms_api.use_cases.open_gif import OpenGif
from gifchat_rooms_api.use_cases.post_message import PostMessage
from gifchat_rooms_api.use_cases.post_notice import PostNotice
from gifchat_rooms_api.use_cases.read_history import ReadHistory
from gifchat_rooms_api.use_cases.read_rooms import ReadRooms
from gifchat_rooms_api.use_cases.record_occupancy import RecordOccupancy
from gifchat_rooms_api.use_cases.remove_empty_rooms import RemoveEmptyRooms
from gifchat_rooms_api.use_cases.remove_room import RemoveRoom
from gifchat_rooms_api.use_cases.remove_unreferenced_gifs import RemoveUnreferencedGifs
from gifchat_rooms_api.use_cases.upload_gif import UploadGif

_DRAIN_S = 5.0
_PREPARE_RETRY_S = 1.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wired:
    """Everything that outlives a request, built and wired."""

    mongo: AsyncMongoClient[Document]
    redis: Redis
    room_store: MongoRooms
    log: MongoMessages
    gifs: MongoGifs
    blobs: MongoBlobs
    publisher: RedisPublisher
    image_decoder: ImageDecoder
    passwords: Argon2Passwords
    leaderships: tuple[MongoLeadership, ...]
    guards: Guards
    rooms: ReadRooms
    create_room: CreateRoom
    edit_room: EditRoom
    remove_room: RemoveRoom
    issue_ticket: IssueTicket
    moderate_user: ModerateUser
    commit: GroupCommit
    post_message: PostMessage
    delete_message: DeleteMessage
    history: ReadHistory
    upload_gif: UploadGif
    open_gif: OpenGif
    janitor: Janitor
    announce_heads: AnnounceHeads
    prepared: asyncio.Event
    """Set once the indexes exist."""
    failed: asyncio.Event
    """Set if a background task died."""


def create_app(settings: Settings) -> FastAPI:
    """Build the service as an ASGI application."""
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
    app.add_middleware(RequestMetrics, service="rooms-api")
    app.state.failed = wired.failed
    return app


def _wire(settings: Settings) -> _Wired:
    mongo = mongo_client(settings.mongo_url)
    redis = redis_client(settings.redis_url, max_connections=64)

    room_store = MongoRooms(mongo, settings.mongo_database)
    log = MongoMessages(mongo, settings.mongo_database)
    gifs = MongoGifs(mongo, settings.mongo_database)
    blobs = MongoBlobs(mongo, settings.mongo_database)
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

    commit = GroupCommit(room_store, log, publisher, _now)
    access = CheckAccess(room_store, occupancy, signatures)
    rooms = ReadRooms(room_store, occupancy)
    remove_room = RemoveRoom(room_store, log, publisher, _now)
    return _Wired(
        mongo=mongo,
        redis=redis,
        room_store=room_store,
        log=log,
        gifs=gifs,
        blobs=blobs,
        publisher=publisher,
        image_decoder=image_decoder,
        passwords=passwords,
        leaderships=(leads_janitor, leads_heads),
        guards=Guards(signatures, access, settings.allowed_origins, settings.internal_token),
        rooms=rooms,
        create_room=CreateRoom(
            store=room_store,
            publisher=publisher,
            passwords=passwords,
            rate_limits=rate_limits,
            clock=_now,
            new_room_id=lambda: RoomId(_new_object_id()),
        ),
        edit_room=EditRoom(room_store, rooms, PostNotice(commit, _new_object_id), publisher, passwords),
        remove_room=remove_room,
        issue_ticket=IssueTicket(
            rooms=room_store,
            occupancy=occupancy,
            grants=RedisGrants(redis),
            rate_limits=rate_limits,
            passwords=passwords,
            signatures=signatures,
            clock=_now,
        ),
        moderate_user=ModerateUser(room_store, publisher, _now),
        commit=commit,
        post_message=PostMessage(commit, gifs, LocalRateLimits(), clock=_now, new_entry_id=_new_object_id),
        delete_message=DeleteMessage(room_store, log, commit, _new_object_id),
        history=ReadHistory(log),
        upload_gif=UploadGif(
            gifs=gifs,
            blobs=blobs,
            decoder=image_decoder,
            rate_limits=rate_limits,
            clock=_now,
            new_blob_id=lambda: BlobId(_new_object_id()),
        ),
        open_gif=OpenGif(gifs, blobs),
        janitor=Janitor(
            leads_janitor,
            remove_room,
            RemoveUnreferencedGifs(gifs, blobs, _now, settings.unreferenced_gif_ttl),
            RecordOccupancy(room_store, occupancy, _now),
            RemoveEmptyRooms(room_store, occupancy, remove_room, _now, settings.empty_room_ttl),
        ),
        announce_heads=AnnounceHeads(leads_heads, log, publisher, _now),
        prepared=asyncio.Event(),
        failed=asyncio.Event(),
    )


def _include_routes(app: FastAPI, wired: _Wired) -> None:
    async def refuse_until_prepared() -> None:
        # The unique indexes guarantee the numbering, so nothing may be written before they exist.
        if not wired.prepared.is_set():
            raise Refused(errors.UNAVAILABLE)

    guards, room_store = wired.guards, wired.room_store
    ready = [Depends(refuse_until_prepared)]

    public = APIRouter(prefix="/api/v1", dependencies=[Depends(guards.same_origin), *ready])
    public.include_router(
        rooms_router(wired.rooms, wired.create_room, wired.edit_room, wired.remove_room, guards=guards)
    )
    public.include_router(tickets_router(wired.issue_ticket, guards=guards))
    public.include_router(moderation_router(wired.moderate_user, guards=guards, clock=_now))
    public.include_router(
        messages_router(wired.post_message, wired.delete_message, wired.history, room_store, guards=guards, clock=_now)
    )
    public.include_router(gifs_router(wired.upload_gif, room_store, guards=guards, clock=_now))

    internal = APIRouter(prefix="/internal/v1", dependencies=ready)
    internal.include_router(internal_rooms_router(wired.rooms, wired.history, guards=guards, clock=_now))
    internal.include_router(internal_messages_router(wired.post_message, wired.history, room_store, guards=guards))

    app.include_router(public)
    app.include_router(internal)
    app.include_router(gif_files_router(wired.open_gif), dependencies=ready)
    app.router.routes.extend(health_routes(lambda: _readiness(wired)))


@asynccontextmanager
async def _lifespan(wired: _Wired) -> AsyncIterator[None]:
    async def prepare_then_clean_up() -> None:
        await _prepare(wired.room_store.create_indexes, wired.log.create_indexes, wired.gifs.create_indexes)
        wired.prepared.set()
        await wired.janitor.run()

    async def announce_heads() -> None:
        await wired.prepared.wait()
        await wired.announce_heads.run()

    async def close_passwords() -> None:
        wired.passwords.close()

    shutdown_hooks: list[ShutdownHook] = [
        *(partial(_release, leadership) for leadership in wired.leaderships),
        partial(_write_rest, wired.commit),
        wired.publisher.aclose,
        wired.image_decoder.aclose,
        close_passwords,
        wired.redis.aclose,
        wired.mongo.close,
    ]
    async with background_tasks([prepare_then_clean_up, announce_heads], shutdown_hooks, wired.failed):
        _log.info("started")
        yield
    _log.info("stopped")


async def _prepare(*create_indexes: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            for create in create_indexes:
                await create()
        except StoreClosedError:
            raise
        except StoreUnavailableError as error:
            _log.warning("waiting_for_mongodb", error=str(error))
            await asyncio.sleep(_PREPARE_RETRY_S)
        else:
            return


async def _write_rest(commit: GroupCommit) -> None:
    try:
        await commit.aclose(_DRAIN_S)
    except TimeoutError:
        _log.warning("stopped_with_unwritten_messages")


async def _release(leadership: MongoLeadership) -> None:
    try:
        await leadership.release()
    except StoreUnavailableError as error:
        _log.warning("leadership_not_released", error=str(error))


async def _readiness(wired: _Wired) -> tuple[int, dict[str, str]]:
    """Return status code and body of the readiness probe.

    The service is unready without MongoDB or its indexes. Most of it works without Redis, so it then stays ready.
    """
    mongo_ok, redis_ok = await _mongo_answers(wired.mongo, wired.prepared), await _redis_answers(wired.redis)
    status = "unready" if not mongo_ok else "ok" if redis_ok else "degraded"
    body = {"status": status, "mongo": "ok" if mongo_ok else "away", "redis": "ok" if redis_ok else "away"}
    return 200 if mongo_ok else 503, body


async def _mongo_answers(mongo: AsyncMongoClient[Document], prepared: asyncio.Event) -> bool:
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
    """Return the body limit of a path. Uploads check their own, smaller limits and answer with their own codes."""
    return 2 * limits.GIF_MAX_BYTES if path.endswith("/gifs") else JSON_BODY_MAX_BYTES


def _now() -> datetime:
    return datetime.now(UTC)


def _new_object_id() -> str:
    return str(ObjectId())


def _operation_id(route: APIRoute) -> str:
    return route.name
