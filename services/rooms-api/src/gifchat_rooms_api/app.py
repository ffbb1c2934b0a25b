"""The composition root: builds the service. Building opens no connection; the lifespan starts and stops tasks."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import pymongo
import structlog
from bson import ObjectId
from fastapi import APIRouter, Depends, FastAPI
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from gifchat_chassis.answer_headers import AnswerHeaders
from gifchat_chassis.background_tasks import ShutdownHook, background_tasks
from gifchat_chassis.health import health_routes
from gifchat_chassis.http_methods import Methods
from gifchat_chassis.redis_connections import redis_client
from gifchat_chassis.request_metrics import RequestMetrics
from gifchat_chassis.revocations import FollowRevocations, RevocationsUnavailableError, RevokedSessions
from gifchat_contracts import errors, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.adapters.argon2_passwords import Argon2Passwords
from gifchat_rooms_api.adapters.image_decoder import DecoderLimits, ImageDecoder
from gifchat_rooms_api.adapters.mongo_blobs import MongoBlobs
from gifchat_rooms_api.adapters.mongo_connection import mongo_client
from gifchat_rooms_api.adapters.mongo_gifs import MongoGifAddresses, MongoGifs
from gifchat_rooms_api.adapters.mongo_leadership import MongoLeadership
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.adapters.mongo_revocations import MongoRevocations
from gifchat_rooms_api.adapters.mongo_rooms import MongoRooms
from gifchat_rooms_api.adapters.redis_admission import LocalRateLimits, RedisGrants, RedisRateLimits
from gifchat_rooms_api.adapters.redis_occupancy import RedisOccupancy
from gifchat_rooms_api.adapters.redis_publisher import RedisPublisher
from gifchat_rooms_api.adapters.signed_tokens import SignedTokens
from gifchat_rooms_api.domain.byte_budget import ByteRate
from gifchat_rooms_api.http.body_limit import JSON_BODY_MAX_BYTES, BodyLimit
from gifchat_rooms_api.http.deps import Guards
from gifchat_rooms_api.http.direct_route import route_name
from gifchat_rooms_api.http.gif_upload import UploadDeadlines
from gifchat_rooms_api.http.gifs import gif_files_router, gifs_router
from gifchat_rooms_api.http.internal_messages import internal_messages_router
from gifchat_rooms_api.http.internal_rooms import internal_rooms_router
from gifchat_rooms_api.http.messages import messages_router
from gifchat_rooms_api.http.moderation import moderation_router
from gifchat_rooms_api.http.problems import answer_with_problems, document_problems
from gifchat_rooms_api.http.rooms import rooms_router
from gifchat_rooms_api.http.sessions import internal_sessions_router, session_router
from gifchat_rooms_api.http.upload_slots import UploadSlots
from gifchat_rooms_api.ports import BlobId, Leadership, Rate, StoreClosedError, StoreUnavailableError
from gifchat_rooms_api.settings import Settings
from gifchat_rooms_api.use_cases.announce_heads import AnnounceHeads
from gifchat_rooms_api.use_cases.check_access import CheckAccess
from gifchat_rooms_api.use_cases.create_room import CreateRoom
from gifchat_rooms_api.use_cases.delete_message import DeleteMessage
from gifchat_rooms_api.use_cases.edit_room import EditRoom
from gifchat_rooms_api.use_cases.group_commit import GroupCommit
from gifchat_rooms_api.use_cases.issue_ticket import IssueTicket
from gifchat_rooms_api.use_cases.janitor import Janitor
from gifchat_rooms_api.use_cases.limit_reads import LimitReads
from gifchat_rooms_api.use_cases.list_members import ListMembers
from gifchat_rooms_api.use_cases.moderate_user import ModerateUser
from gifchat_rooms_api.use_cases.open_gif import OpenGif
from gifchat_rooms_api.use_cases.post_message import PostMessage, per_room_and_address, per_user
from gifchat_rooms_api.use_cases.post_notice import PostNotice
from gifchat_rooms_api.use_cases.purge_user import PurgeUser
from gifchat_rooms_api.use_cases.read_history import ReadHistory
from gifchat_rooms_api.use_cases.read_rooms import ReadRooms
from gifchat_rooms_api.use_cases.recent_rooms import RecentRooms, boot_time_s
from gifchat_rooms_api.use_cases.record_occupancy import RecordOccupancy
from gifchat_rooms_api.use_cases.remove_empty_rooms import RemoveEmptyRooms
from gifchat_rooms_api.use_cases.remove_room import RemoveRoom
from gifchat_rooms_api.use_cases.remove_unreferenced_gifs import RemoveUnreferencedGifs
from gifchat_rooms_api.use_cases.room_budget import RoomBudget, per_minute
from gifchat_rooms_api.use_cases.sign_out import SignOut
from gifchat_rooms_api.use_cases.upload_gif import UploadGif, UploadRates
from gifchat_rooms_api.use_cases.upload_into_room import UploadIntoRoom

_DRAIN_S = 5.0
_PREPARE_RETRY_S = 1.0
_log = structlog.get_logger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Build the service as an ASGI application."""
    service = _Service(settings)
    app = FastAPI(
        title="GIF Chat",
        summary="Rooms, messages and GIFs over HTTP.",
        version="1",
        lifespan=lambda _app: service.lifespan(),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=route_name,
        # We have metrics and logs of our own. FastAPI would look for a telemetry provider on every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    service.include_routes(app)
    answer_with_problems(app)
    document_problems(app)
    app.add_middleware(Methods, routes=app.routes)
    app.add_middleware(BodyLimit, max_bytes=_body_limit)
    app.add_middleware(RequestMetrics, service="rooms-api")
    app.add_middleware(AnswerHeaders)
    app.state.failed = service.failed
    return app


class _Service:
    """Builds and holds the service's long-lived objects."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.prepared = asyncio.Event()
        """Set once the indexes exist and the revocations are known."""
        self.failed = asyncio.Event()
        """Set if a background task died."""

        self.mongo = mongo_client(settings.mongo_url)
        self.room_store = MongoRooms(self.mongo, settings.mongo_database)
        self.recent_rooms = RecentRooms(self.room_store, boot_time_s)
        self.log = MongoMessages(self.mongo, settings.mongo_database)
        self.gifs = MongoGifs(self.mongo, settings.mongo_database)
        self.gif_addresses = MongoGifAddresses(self.mongo, settings.mongo_database)
        self.blobs = MongoBlobs(self.mongo, settings.mongo_database)
        self.revocations = MongoRevocations(self.mongo, settings.mongo_database)
        self.revoked = RevokedSessions()
        holder = f"{settings.node_name}.{secrets.token_hex(4)}"
        leads_janitor = MongoLeadership(self.mongo, settings.mongo_database, "janitor", holder)
        leads_heads = MongoLeadership(self.mongo, settings.mongo_database, "heads", holder)
        self.redis = redis_client(settings.redis_url, max_connections=64)
        self.occupancy = RedisOccupancy(self.redis)
        self.publisher = RedisPublisher(self.redis)
        self.passwords = Argon2Passwords()
        self.image_decoder = ImageDecoder(_decoder_limits(settings))

        self.commit = GroupCommit(self.recent_rooms, self.log, self.publisher, _now)
        self.remove_room = RemoveRoom(self.room_store, self.log, self.publisher, _now)
        self.janitor = Janitor(
            leads_janitor,
            self.remove_room,
            RemoveUnreferencedGifs(self.gifs, self.blobs, _now, settings.unreferenced_gif_ttl),
            RecordOccupancy(self.room_store, self.occupancy, _now),
            RemoveEmptyRooms(self.room_store, self.occupancy, self.remove_room, _now, settings.empty_room_ttl),
        )
        self.announce_heads = AnnounceHeads(leads_heads, self.log, self.publisher, _now)
        self.rate_limits = RedisRateLimits(self.redis, LocalRateLimits())
        self.sign_out = SignOut(
            self.revocations,
            self.revoked,
            self.publisher,
            self.rate_limits,
            Rate("sign-out-address", settings.sign_outs_per_address, settings.sign_out_refill),
        )
        self.follow_revocations = FollowRevocations(self.revoked, self.sign_out.read, settings.revocation_read_seconds)

    def include_routes(self, app: FastAPI) -> None:
        """Build the use cases of the routes, and add the routes to `app`."""
        signatures = SignedTokens(self.settings.session_secrets)
        access = CheckAccess(self.recent_rooms, self.occupancy, signatures)
        limit_reads = LimitReads(
            ByteRate(self.settings.history_user_burst_bytes, self.settings.history_user_bytes_per_s),
            ByteRate(self.settings.history_address_burst_bytes, self.settings.history_address_bytes_per_s),
        )
        guards = Guards(
            signatures,
            access,
            limit_reads,
            self.settings.allowed_origins,
            self.settings.internal_token,
            revoked=self.revoked,
        )
        rate_limits = self.rate_limits
        rooms = ReadRooms(self.room_store, self.occupancy, _now, self.settings.unentered_room_listed)
        budget = RoomBudget(
            rate_limits,
            self.room_store,
            changes_per_user=per_minute("room-user", self.settings.room_changes_per_user),
            changes_per_address=per_minute("room-address", self.settings.room_changes_per_address),
            rooms_per_user=self.settings.rooms_per_user,
            rooms_per_address=self.settings.rooms_per_address,
        )
        create_room = CreateRoom(
            self.room_store,
            self.publisher,
            self.passwords,
            budget,
            signatures.address_digest,
            _now,
            lambda: RoomId(_new_object_id()),
        )
        post_notice = PostNotice(self.commit, _new_object_id)
        edit_room = EditRoom(self.room_store, rooms, post_notice, self.publisher, self.passwords, budget)
        grants = RedisGrants(self.redis)
        issue_ticket = IssueTicket(
            self.room_store, self.occupancy, grants, rate_limits, self.passwords, signatures, _now
        )
        moderate_user = ModerateUser(self.room_store, self.publisher, _now, self.settings.sanctions_per_room)
        history = ReadHistory(self.log, self.settings.history_page_bytes)
        post_message = PostMessage(
            self.commit,
            self.gifs,
            self.gif_addresses,
            LocalRateLimits(),
            _now,
            _new_object_id,
            per_user(self.settings.messages_per_user_per_second, self.settings.messages_per_user),
            per_room_and_address(
                self.settings.room_messages_per_address, self.settings.room_messages_per_address_at_once
            ),
        )
        delete_message = DeleteMessage(self.room_store, self.log, self.commit, _new_object_id)
        upload_gif = UploadGif(
            self.gifs,
            self.blobs,
            self.image_decoder,
            rate_limits,
            _upload_rates(self.settings),
            _now,
            lambda: BlobId(_new_object_id()),
        )

        ready = [Depends(self._refuse_until_prepared)]
        checks = [Depends(guards.same_origin), *ready]
        busiest_first = [
            messages_router(
                post_message,
                delete_message,
                history,
                limit_reads,
                self.recent_rooms,
                guards=guards,
                checks=checks,
                clock=_now,
            ),
            rooms_router(
                rooms,
                create_room,
                edit_room,
                self.remove_room,
                issue_ticket,
                recent=self.recent_rooms,
                guards=guards,
                checks=checks,
            ),
            internal_rooms_router(rooms, history, guards=guards, checks=ready, clock=_now),
            internal_messages_router(post_message, history, self.room_store, guards=guards, checks=ready),
        ]
        for router in busiest_first:
            app.router.routes.extend(router.routes)
        public = APIRouter(prefix="/api/v1", dependencies=checks)
        public.include_router(
            moderation_router(
                moderate_user,
                PurgeUser(self.log, delete_message),
                ListMembers(self.room_store, self.occupancy, self.log),
                guards=guards,
                clock=_now,
                kick_hold_s=self.settings.kick_hold,
            )
        )
        upload_into_room = UploadIntoRoom(upload_gif, self.gif_addresses, _now, self.settings.unreferenced_gif_ttl)
        slots = UploadSlots(self.settings.uploads_in_flight, self.settings.uploads_in_flight_per_address)
        deadlines = UploadDeadlines(self.settings.upload_timeout, self.settings.upload_stall_timeout)
        public.include_router(
            gifs_router(upload_into_room, self.room_store, slots, deadlines, guards=guards, clock=_now)
        )
        public.include_router(session_router(self.sign_out, guards=guards))
        internal = APIRouter(prefix="/internal/v1", dependencies=ready)
        internal.include_router(internal_sessions_router(self.revocations, guards=guards))
        app.include_router(internal)
        app.include_router(public)
        open_gif = OpenGif(self.gif_addresses, self.blobs, _now)
        app.include_router(gif_files_router(open_gif, self.settings.gif_cache_seconds), dependencies=ready)
        app.router.routes.extend(health_routes(self._readiness))

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Run the background tasks; on exit, stop them and close everything."""

        async def prepare_then_clean_up() -> None:
            stores = (self.room_store, self.log, self.gifs, self.gif_addresses, self.revocations)
            await _prepare(*(store.create_indexes for store in stores), self.follow_revocations.catch_up)
            self.prepared.set()
            await self.janitor.run()

        async def announce_heads() -> None:
            await self.prepared.wait()
            await self.announce_heads.run()

        async def follow_revocations() -> None:
            await self.prepared.wait()
            await self.follow_revocations.run()

        shutdown_hooks: list[ShutdownHook] = [
            partial(_release, self.janitor.leadership),
            partial(_release, self.announce_heads.leadership),
            partial(_write_rest, self.commit),
            self.publisher.aclose,
            self.image_decoder.aclose,
            self.passwords.aclose,
            self._close_occupancy,
            self.redis.aclose,
            self.mongo.close,
        ]
        tasks = [prepare_then_clean_up, announce_heads, follow_revocations]
        async with background_tasks(tasks, shutdown_hooks, self.failed):
            _log.info("started")
            yield
        _log.info("stopped")

    async def _refuse_until_prepared(self) -> None:
        # The unique indexes prevent duplicate seqs, so nothing may be written before they exist.
        if not self.prepared.is_set():
            raise Refused(errors.UNAVAILABLE)

    async def _close_occupancy(self) -> None:
        self.occupancy.close()

    async def _readiness(self) -> tuple[int, dict[str, str]]:
        """Return status code and body of the readiness probe.

        The service needs MongoDB and its indexes. Most of it works without Redis, so it is then degraded but ready.
        """
        mongo_ok = redis_ok = False
        with suppress(PyMongoError), pymongo.timeout(1.0):
            await self.mongo.admin.command("ping")
            mongo_ok = self.prepared.is_set()
        with suppress(RedisError, OSError):
            redis_ok = bool(await self.redis.ping())
        status = "unready" if not mongo_ok else "ok" if redis_ok else "degraded"
        body = {"status": status, "mongo": "ok" if mongo_ok else "down", "redis": "ok" if redis_ok else "down"}
        return 200 if mongo_ok else 503, body


async def _prepare(*steps: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            for step in steps:
                await step()
        except StoreClosedError:
            raise
        except (StoreUnavailableError, RevocationsUnavailableError) as error:
            _log.warning("waiting_for_mongodb", error=str(error))
            await asyncio.sleep(_PREPARE_RETRY_S)
        else:
            return


async def _write_rest(commit: GroupCommit) -> None:
    try:
        await commit.aclose(_DRAIN_S)
    except TimeoutError:
        _log.warning("stopped_with_unwritten_messages")


async def _release(leadership: Leadership) -> None:
    try:
        await leadership.release()
    except StoreUnavailableError as error:
        _log.warning("leadership_not_released", error=str(error))


def _decoder_limits(settings: Settings) -> DecoderLimits:
    return DecoderLimits(
        at_once=settings.decoders,
        waiting=settings.decode_waiting,
        waiting_per_address=settings.decode_waiting_per_address,
        memory_bytes=settings.decode_memory * 1024 * 1024,
        cpu_s=settings.decode_cpu,
        deadline_s=settings.decode_deadline,
        niceness=settings.decode_niceness,
    )


def _upload_rates(settings: Settings) -> UploadRates:
    return UploadRates(
        Rate("upload-user", settings.uploads_per_user, 1 / settings.uploads_per_user_per_second),
        Rate("upload-address", settings.uploads_per_address, 1 / settings.uploads_per_address_per_second),
        Rate("decode-user", settings.decode_megapixels_per_user, 1 / settings.decode_megapixels_per_user_per_second),
        Rate(
            "decode-address",
            settings.decode_megapixels_per_address,
            1 / settings.decode_megapixels_per_address_per_second,
        ),
    )


def _body_limit(path: str) -> int:
    """Return the body limit of a path. Uploads check their own, smaller limits and answer with their own codes."""
    return 2 * limits.GIF_MAX_BYTES if path.endswith("/gifs") else JSON_BODY_MAX_BYTES


def _now() -> datetime:
    return datetime.now(UTC)


def _new_object_id() -> str:
    return str(ObjectId())
