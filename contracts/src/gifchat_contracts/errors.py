"""The one table of error codes: what happened, which HTTP status it has, and what a client should do next.

Documents, the pages' JavaScript and every service read this table; a code never changes its meaning.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Language = Literal["ko", "en"]


class Action(StrEnum):
    """What a client should do."""

    FIX = "fix"
    """The request is wrong; the same request will fail again."""
    STOP = "stop"
    """Not allowed, or gone; ask the person."""
    RETRY = "retry"
    """Later, with the same request (and the same `client_message_id`)."""
    RECONNECT = "reconnect"
    """Connect again and join with the last position."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the table."""

    code: str
    status: int
    action: Action
    ko: str
    en: str

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return self.action in (Action.RETRY, Action.RECONNECT)

    def text(self, language: Language) -> str:
        """The sentence for a person."""
        return self.ko if language == "ko" else self.en


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """Refuses a request, with a code that says what the client should do next."""

    def __init__(self, code: ErrorCode, retry_after_s: float | None = None, detail: str | None = None) -> None:
        """`detail` is for the developer of the client, in English; people see the code's text."""
        super().__init__(code.code)
        self.code = code
        self.retry_after_s = retry_after_s
        self.detail = detail


_FIX, _STOP, _RETRY, _RECONNECT = Action.FIX, Action.STOP, Action.RETRY, Action.RECONNECT

ROOM_NOT_FOUND = ErrorCode("room_not_found", 404, _STOP, "존재하지 않는 방입니다.", "This room does not exist.")
WRONG_PASSWORD = ErrorCode("wrong_password", 403, _STOP, "비밀번호가 틀렸습니다.", "The password is wrong.")
PASSWORD_REQUIRED = ErrorCode(
    "password_required", 403, _STOP, "비밀번호가 필요한 방입니다.", "This room needs a password."
)
ROOM_FULL = ErrorCode("room_full", 409, _RETRY, "허용 인원을 초과했습니다.", "The room is full.")
BANNED = ErrorCode("banned", 403, _STOP, "이 방에서 차단되었습니다.", "You are banned from this room.")
KICKED = ErrorCode("kicked", 403, _STOP, "방장이 내보냈습니다.", "The owner removed you from the room.")
MUTED = ErrorCode("muted", 403, _STOP, "이 방에서 말할 수 없습니다.", "You are muted in this room.")
SLOW_MODE = ErrorCode("slow_mode", 429, _RETRY, "잠시 후에 다시 보내 주세요.", "Slow mode is on: wait a moment.")
NOT_A_MEMBER = ErrorCode("not_a_member", 403, _STOP, "먼저 방에 들어가 주세요.", "Enter the room first.")
NOT_OWNER = ErrorCode("not_owner", 403, _STOP, "방장만 할 수 있습니다.", "Only the room's owner can do this.")
TOO_MANY_SANCTIONS = ErrorCode(
    "too_many_sanctions",
    409,
    _STOP,
    "이 방에서 제재할 수 있는 인원을 초과했습니다.",
    "The room has as many sanctioned users as it can have: end another sanction first.",
)
TICKET_INVALID = ErrorCode("ticket_invalid", 403, _STOP, "입장권이 올바르지 않습니다.", "The ticket is not valid.")
TICKET_EXPIRED = ErrorCode("ticket_expired", 403, _STOP, "입장권이 만료되었습니다.", "The ticket has expired.")
TICKET_USED = ErrorCode("ticket_used", 403, _STOP, "이미 사용한 입장권입니다.", "The ticket was used already.")
RECOVERING = ErrorCode(
    "recovering", 503, _RETRY, "복구 중입니다. 곧 다시 시도해 주세요.", "The service is recovering: try again shortly."
)
ADMISSION_UNAVAILABLE = ErrorCode(
    "admission_unavailable", 503, _RETRY, "지금은 입장할 수 없습니다.", "Entering is not possible right now."
)
TOO_MANY_ATTEMPTS = ErrorCode(
    "too_many_attempts",
    429,
    _RETRY,
    "시도가 너무 많습니다. 잠시 후 다시 시도해 주세요.",
    "Too many attempts: wait a moment.",
)
RATE_LIMITED = ErrorCode("rate_limited", 429, _RETRY, "요청이 너무 많습니다.", "Too many requests: slow down.")
SESSION_REQUIRED = ErrorCode(
    "session_required", 401, _STOP, "세션이 필요합니다.", "A session is needed: ask for one at /api/v1/session."
)
ORIGIN_REFUSED = ErrorCode("origin_refused", 403, _STOP, "허용되지 않은 출처입니다.", "This origin is not allowed.")
INTERNAL_ONLY = ErrorCode("internal_only", 401, _STOP, "내부 전용입니다.", "For services of this system only.")
VALIDATION_FAILED = ErrorCode("validation_failed", 422, _FIX, "입력이 올바르지 않습니다.", "The input is not valid.")
MALFORMED = ErrorCode("malformed", 400, _FIX, "요청을 읽을 수 없습니다.", "The request cannot be read.")
NOT_FOUND = ErrorCode("not_found", 404, _STOP, "찾을 수 없습니다.", "There is nothing here.")
METHOD_NOT_ALLOWED = ErrorCode(
    "method_not_allowed", 405, _FIX, "허용되지 않은 메서드입니다.", "This method is not allowed."
)
MESSAGE_NOT_FOUND = ErrorCode(
    "message_not_found", 404, _STOP, "존재하지 않는 메시지입니다.", "This message does not exist."
)
EPOCH_CHANGED = ErrorCode(
    "epoch_changed", 409, _FIX, "대화 기록이 새로 시작되었습니다.", "The history was restarted: load it anew."
)
GIF_NOT_FOUND = ErrorCode("gif_not_found", 404, _STOP, "존재하지 않는 GIF입니다.", "This GIF does not exist.")
GIF_WRONG_TYPE = ErrorCode(
    "gif_wrong_type", 415, _FIX, "GIF, PNG, JPEG, WebP만 올릴 수 있습니다.", "Only GIF, PNG, JPEG and WebP are taken."
)
GIF_TOO_LARGE = ErrorCode("gif_too_large", 413, _FIX, "10MB까지 올릴 수 있습니다.", "The file is larger than 10 MB.")
GIF_TOO_MANY_PIXELS = ErrorCode(
    "gif_too_many_pixels", 422, _FIX, "이미지가 너무 크거나 깁니다.", "The picture is too large or has too many frames."
)
GIF_BROKEN = ErrorCode("gif_broken", 422, _FIX, "파일이 손상되었습니다.", "The file is broken.")
PAYLOAD_TOO_LARGE = ErrorCode("payload_too_large", 413, _FIX, "보낸 내용이 너무 큽니다.", "What was sent is too large.")
OUTCOME_UNKNOWN = ErrorCode(
    "outcome_unknown",
    503,
    _RETRY,
    "저장되었는지 알 수 없습니다. 다시 보내 주세요.",
    "It is not known whether it was stored: send it again with the same client_message_id.",
)
UNAVAILABLE = ErrorCode(
    "unavailable", 503, _RETRY, "지금은 처리할 수 없습니다.", "The service cannot do this right now: try again."
)
RANGE_NOT_SATISFIABLE = ErrorCode(
    "range_not_satisfiable", 416, _FIX, "요청한 범위가 없습니다.", "The file does not have the range asked for."
)
SLOW_CONSUMER = ErrorCode(
    "slow_consumer", 503, _RECONNECT, "연결이 느려 다시 연결합니다.", "Reading was too slow: connect again and recover."
)
NODE_DRAINING = ErrorCode(
    "node_draining", 503, _RECONNECT, "서버를 옮기는 중입니다.", "This node is stopping: connect again."
)
INTERNAL = ErrorCode("internal", 500, _RETRY, "서버 오류가 발생했습니다.", "Something went wrong on the server.")

TABLE: dict[str, ErrorCode] = {row.code: row for row in list(globals().values()) if isinstance(row, ErrorCode)}
"""Every row by its code."""


def language_of(accept_language: str | None) -> Language:
    """The better of Korean and English for an `Accept-Language` header (RFC 9110, 12.5.4); English if neither fits."""
    best: Language = "en"
    best_weight = 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.strip().partition(";")
        weight_text = parameters.strip().removeprefix("q=") if parameters else "1"
        try:
            weight = float(weight_text)
        except ValueError:
            continue
        primary = tag.strip().lower().split("-")[0]
        if primary == "ko" and weight > best_weight:
            best, best_weight = "ko", weight
        elif primary == "en" and weight > best_weight:
            best, best_weight = "en", weight
    return best
