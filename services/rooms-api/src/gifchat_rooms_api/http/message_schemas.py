"""Schemas of messages at the HTTP edge.

Request models validate input. `domain.message` builds the responses, which are the same payloads as on channels.
Response models only describe them in the OpenAPI document.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gifchat_contracts import limits
from gifchat_rooms_api.domain.message import payload_of
from gifchat_rooms_api.use_cases.read_history import HEADS_MAX_ROOMS, Page

_ROOM = "65f0c0ffee0123456789abcd"
_GIF = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

RoomIdText = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", examples=["65f0c0ffee0123456789abcd"])]
UserIdText = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", examples=["940711f9d7f81caa95f84290"])]
EpochText = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", examples=["0123456789abcdef"])]
ColorText = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$", examples=["#86362d"])]
Moment = Annotated[str, Field(description="ISO 8601 in UTC, with milliseconds.", examples=["2026-01-02T03:04:05.678Z"])]
EntryId = Annotated[str, Field(examples=["65f0c0ffee00000000000001"])]
Seq = Annotated[int, Field(ge=1, description="Number of the entry in its room.", examples=[1])]
ClientMessageId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="The sender's idempotency key. A retry with the same key returns the message stored first.",
        examples=["0b8f6a4e-0000-4000-8000-000000000001"],
    ),
]
MessageText = Annotated[
    str,
    Field(
        description=f"At least one visible character. At most {limits.TEXT_MAX_CHARS} grapheme clusters, "
        f"{limits.TEXT_MAX_BYTES} bytes of UTF-8 and {limits.TEXT_MAX_LINE_BREAKS} line breaks, counted in the answer. "
        "There the text is in NFC, each line break is a line feed, and other control characters are dropped.",
        examples=["안녕하세요"],
        # The policy for texts checks this, because its codes say what is wrong.
        json_schema_extra={"minLength": 1, "maxLength": limits.TEXT_MAX_BYTES * limits.RAW_CHARS_PER_BYTE},
    ),
]
GifIdText = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$", description="The `id` that the upload returned.", examples=[_GIF])
]


class StrictModel(BaseModel):
    """A request body: unknown fields are refused, and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PostText(StrictModel):
    """A text message."""

    client_message_id: ClientMessageId
    text: MessageText


class PostGif(StrictModel):
    """A message with an uploaded GIF."""

    client_message_id: ClientMessageId
    gif: GifIdText


RelayedAddress = Annotated[
    str | None,
    Field(max_length=64, description="The sender's address, as limits count it; None: the gateway is older."),
]


class RelayText(PostText):
    """A text message from a member whom a gateway has admitted."""

    user_id: UserIdText
    color: ColorText
    address: RelayedAddress = None


class RelayGif(PostGif):
    """A GIF message from a member whom a gateway has admitted."""

    user_id: UserIdText
    color: ColorText
    address: RelayedAddress = None


class RoomsQuery(StrictModel):
    """A query for many rooms at once."""

    rooms: list[RoomIdText] = Field(max_length=HEADS_MAX_ROOMS)


class GifInfo(BaseModel):
    """The URLs and the size of a GIF, known before the page loads it."""

    url: str = Field(examples=[f"/gif/{_ROOM}/{_GIF}.gif"])
    still_url: str = Field(examples=[f"/gif/{_ROOM}/{_GIF}.still.png"])
    width: int = Field(examples=[320])
    height: int = Field(examples=[240])
    frames: int | None = Field(default=None, description="1 for a still picture.", examples=[12])


class LogEvent(BaseModel):
    """An entry of a room's log."""

    room: RoomIdText
    epoch: EpochText
    seq: Seq
    createdAt: Moment  # noqa: N815 - the original's name


class Chat(LogEvent):
    """Event `chat`: a message with `chat` or `gif`, or neither if the owner deleted it."""

    id: EntryId = Field(alias="_id")
    user: ColorText
    user_id: UserIdText
    chat: str | None = Field(default=None, examples=["안녕하세요"])
    gif: str | None = Field(default=None, description="Path below `/gif/`.")
    gif_info: GifInfo | None = None
    deleted: Literal[True] | None = None
    client_message_id: ClientMessageId


class ChatDeleted(LogEvent):
    """Event `chatDeleted`: the owner deleted the message at `target_seq`."""

    target_seq: Seq
    target_id: EntryId


class Notice(LogEvent):
    """Event `notice`: a change by the owner."""

    code: Literal["slow_mode_changed"]
    slow_mode_s: int = Field(ge=0, examples=[30])


class ChatItem(BaseModel):
    """A message in the history."""

    event: Literal["chat"]
    data: Chat


class ChatDeletedItem(BaseModel):
    """A deletion in the history."""

    event: Literal["chatDeleted"]
    data: ChatDeleted


class NoticeItem(BaseModel):
    """A notice in the history."""

    event: Literal["notice"]
    data: Notice


class HistoryPage(BaseModel):
    """A contiguous part of the room's log, in ascending order of seq."""

    epoch: EpochText
    head: int = Field(ge=0, description="Highest seq of the room.", examples=[1])
    items: list[Annotated[ChatItem | ChatDeletedItem | NoticeItem, Field(discriminator="event")]]
    has_more: bool = Field(description="Whether there are more entries in the requested direction.")


def history_page(page: Page) -> Mapping[str, Any]:
    """Return the JSON of `HistoryPage`."""
    return {
        "epoch": page.epoch,
        "head": page.head,
        "items": [
            {"event": entry.draft.fact.event, "data": payload_of(page.room_id, page.epoch, entry)}
            for entry in page.entries
        ],
        "has_more": page.has_more,
    }


def log_page(page: Page) -> Mapping[str, Any]:
    """Return the JSON that gateways use for repair: each event with the fields of its frame's header."""
    return {
        "epoch": page.epoch,
        "head": page.head,
        "items": [
            {
                "event": entry.draft.fact.event,
                "seq": entry.seq,
                "kind": int(entry.draft.fact.kind),
                "data": payload_of(page.room_id, page.epoch, entry),
            }
            for entry in page.entries
        ],
    }
