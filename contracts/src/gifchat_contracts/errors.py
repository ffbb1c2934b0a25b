"""The table of error codes: each has an HTTP status and says what a client should do next.

The documents, the pages' JavaScript and every service use this table. A code never changes its meaning. The texts
for users are in `texts/`.
"""

from dataclasses import dataclass
from enum import StrEnum

from gifchat_contracts.languages import Language
from gifchat_contracts.texts import ERROR_TEXTS


class Action(StrEnum):
    """What a client should do."""

    FIX = "fix"
    """Change the request. The same request would fail again."""
    STOP = "stop"
    """Stop, and tell the user. The action is not allowed, or its target is gone."""
    RETRY = "retry"
    """Send the same request again later, with the same `client_message_id`."""
    RECONNECT = "reconnect"
    """Connect again, and join with the last position."""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One row of the table."""

    code: str
    status: int
    action: Action

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return self.action in (Action.RETRY, Action.RECONNECT)

    def text(self, language: Language) -> str:
        """Return the text for users."""
        return ERROR_TEXTS[language][self.code]


WHOLE_ADDRESS_HEADER = "X-Refused-Whole-Address"
"""`1` in a response of rooms-api to a gateway: see `Refused.whole_address`."""


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """Refuses a request, with a code that says what the client should do next."""

    def __init__(
        self,
        code: ErrorCode,
        retry_after_s: float | None = None,
        detail: str | None = None,
        *,
        whole_address: bool = False,
    ) -> None:
        """`detail` is for the developer of the client, in English. Users see the code's text.

        `whole_address`: the same request of any other user from the client's address would be refused as well.
        """
        super().__init__(code.code)
        self.code = code
        self.retry_after_s = retry_after_s
        self.detail = detail
        self.whole_address = whole_address


ROOM_NOT_FOUND = ErrorCode("room_not_found", 404, Action.STOP)
WRONG_PASSWORD = ErrorCode("wrong_password", 403, Action.STOP)
PASSWORD_REQUIRED = ErrorCode("password_required", 403, Action.STOP)
ROOM_FULL = ErrorCode("room_full", 409, Action.RETRY)
BANNED = ErrorCode("banned", 403, Action.STOP)
KICKED = ErrorCode("kicked", 403, Action.STOP)
MUTED = ErrorCode("muted", 403, Action.STOP)
SLOW_MODE = ErrorCode("slow_mode", 429, Action.RETRY)
NOT_A_MEMBER = ErrorCode("not_a_member", 403, Action.RECONNECT)
NOT_OWNER = ErrorCode("not_owner", 403, Action.STOP)
TICKET_INVALID = ErrorCode("ticket_invalid", 403, Action.STOP)
TICKET_EXPIRED = ErrorCode("ticket_expired", 403, Action.STOP)
TICKET_USED = ErrorCode("ticket_used", 403, Action.STOP)
RECOVERING = ErrorCode("recovering", 503, Action.RETRY)
ADMISSION_UNAVAILABLE = ErrorCode("admission_unavailable", 503, Action.RETRY)
TOO_MANY_ATTEMPTS = ErrorCode("too_many_attempts", 429, Action.RETRY)
RATE_LIMITED = ErrorCode("rate_limited", 429, Action.RETRY)
TOO_MANY_CONNECTIONS = ErrorCode("too_many_connections", 429, Action.RETRY)
TOO_MANY_SEATS = ErrorCode("too_many_seats", 429, Action.RETRY)
TOO_MANY_ROOMS = ErrorCode("too_many_rooms", 409, Action.STOP)
SESSION_REQUIRED = ErrorCode("session_required", 401, Action.STOP)
SESSION_REVOKED = ErrorCode("session_revoked", 401, Action.STOP)
ORIGIN_REFUSED = ErrorCode("origin_refused", 403, Action.STOP)
INTERNAL_ONLY = ErrorCode("internal_only", 401, Action.STOP)
VALIDATION_FAILED = ErrorCode("validation_failed", 422, Action.FIX)
TEXT_EMPTY = ErrorCode("text_empty", 422, Action.FIX)
TEXT_TOO_LONG = ErrorCode("text_too_long", 422, Action.FIX)
TEXT_TOO_MANY_LINES = ErrorCode("text_too_many_lines", 422, Action.FIX)
TITLE_TOO_LONG = ErrorCode("title_too_long", 422, Action.FIX)
MALFORMED = ErrorCode("malformed", 400, Action.FIX)
NOT_FOUND = ErrorCode("not_found", 404, Action.STOP)
METHOD_NOT_ALLOWED = ErrorCode("method_not_allowed", 405, Action.FIX)
MESSAGE_NOT_FOUND = ErrorCode("message_not_found", 404, Action.STOP)
EPOCH_CHANGED = ErrorCode("epoch_changed", 409, Action.FIX)
GIF_NOT_FOUND = ErrorCode("gif_not_found", 404, Action.STOP)
GIF_WRONG_TYPE = ErrorCode("gif_wrong_type", 415, Action.FIX)
GIF_TOO_LARGE = ErrorCode("gif_too_large", 413, Action.FIX)
GIF_TOO_MANY_PIXELS = ErrorCode("gif_too_many_pixels", 422, Action.FIX)
GIF_BROKEN = ErrorCode("gif_broken", 422, Action.FIX)
PAYLOAD_TOO_LARGE = ErrorCode("payload_too_large", 413, Action.FIX)
OUTCOME_UNKNOWN = ErrorCode("outcome_unknown", 503, Action.RETRY)
UNAVAILABLE = ErrorCode("unavailable", 503, Action.RETRY)
RANGE_NOT_SATISFIABLE = ErrorCode("range_not_satisfiable", 416, Action.FIX)
SLOW_CONSUMER = ErrorCode("slow_consumer", 503, Action.RECONNECT)
NODE_DRAINING = ErrorCode("node_draining", 503, Action.RECONNECT)
INTERNAL = ErrorCode("internal", 500, Action.RETRY)

TABLE: dict[str, ErrorCode] = {row.code: row for row in list(globals().values()) if isinstance(row, ErrorCode)}
"""Every row by its code."""
