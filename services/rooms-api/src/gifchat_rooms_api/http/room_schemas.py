"""Schemas of rooms and moderation at the HTTP edge.

Request models validate input. The domain builds the responses, mostly as the same payloads as on channels.
Response models only describe them in the OpenAPI document.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from gifchat_contracts import limits
from gifchat_rooms_api.domain.moderation import SANCTION_MAX_S
from gifchat_rooms_api.domain.room import valid_password
from gifchat_rooms_api.domain.text import title_text
from gifchat_rooms_api.http.message_schemas import ColorText, Moment, RoomIdText, StrictModel, UserIdText

Title = Annotated[
    str,
    AfterValidator(title_text),
    Field(
        description=f"At least one visible character. At most {limits.TITLE_MAX_CHARS} grapheme clusters and "
        f"{limits.TITLE_MAX_BYTES} bytes of UTF-8, counted in the answer. There it is in NFC, trimmed and on one line, "
        "without control characters and marks of direction.",
        examples=["고양이 GIF"],
        # The policy for texts checks this, because its codes say what is wrong.
        json_schema_extra={"minLength": 1, "maxLength": limits.TITLE_MAX_BYTES * limits.RAW_CHARS_PER_BYTE},
    ),
]
MaxMembers = Annotated[
    int,
    Field(
        ge=limits.ROOM_MAX_MIN,
        le=limits.ROOM_MAX_MAX,
        description="Maximum number of users in the room.",
        examples=[limits.ROOM_MAX_DEFAULT],
    ),
]
Password = Annotated[
    str,
    AfterValidator(valid_password),
    Field(
        max_length=limits.PASSWORD_MAX_CHARS,
        description="No control characters. An empty password means no password.",
        examples=["meow"],
        json_schema_extra={"format": "password"},
    ),
]
SlowMode = Annotated[
    int,
    Field(
        ge=0,
        le=limits.SLOW_MODE_MAX_S,
        description="Seconds that each user must wait between two messages. 0 turns slow mode off.",
        examples=[30],
    ),
]


class NewRoom(StrictModel):
    """A room to create."""

    title: Title
    max: MaxMembers = limits.ROOM_MAX_DEFAULT
    password: Password | None = None


class EditedRoom(StrictModel):
    """Changes to a room. Omitted fields stay unchanged."""

    title: Title | None = None
    max: MaxMembers | None = None
    password: Password | None = Field(
        default=None, description="Null removes it. Any change invalidates earlier tickets and accepted passwords."
    )
    slow_mode_s: SlowMode | None = None


class TicketRequest(StrictModel):
    """A request for a ticket."""

    password: Password | None = Field(
        default=None, description="Password of a private room. The owner needs none. Others need it once in 12 hours."
    )


class KickRequest(StrictModel):
    """The user to kick."""

    user_id: UserIdText


class SanctionRequest(StrictModel):
    """The duration of a ban or mute."""

    seconds: Annotated[
        int | None, Field(ge=1, le=SANCTION_MAX_S, description="Null or omitted means forever.", examples=[600])
    ] = None


class BanRequest(SanctionRequest):
    """The duration of a ban, and what happens to the user's messages."""

    purge: bool = Field(default=False, description="Also delete the user's newest 1,000 messages in the room.")


class Room(BaseModel):
    """A room as everybody may see it."""

    id: RoomIdText = Field(alias="_id")
    title: str = Field(examples=["고양이 GIF"])
    max: int = Field(examples=[10])
    private: bool = Field(description="Whether joining requires a password.", examples=[False])
    owner: ColorText
    owner_id: UserIdText
    slow_mode_s: int = Field(examples=[0])
    createdAt: Moment  # noqa: N815 - the original's name
    members: int = Field(description="Number of users in the room now.", examples=[3])


class RoomList(BaseModel):
    """A page of rooms."""

    items: list[Room]
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page. Null on the last page.")


class Ticket(BaseModel):
    """A ticket for the event `join`."""

    ticket: str = Field(description="Valid once, for this session and this room.")
    expires_at: Moment
    room: Room


class Member(BaseModel):
    """A user with a seat in the room."""

    user_id: UserIdText
    color: ColorText
    connected: bool = Field(description="False while the seat is held for a user who disconnected.")
    last_posted_at: Moment | None = Field(description="When the user last posted in this room. Null: never.")


class MemberList(BaseModel):
    """A page of members. A member can be on two pages if seats change meanwhile."""

    items: list[Member]
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page. Null on the last page.")


class Sanction(BaseModel):
    """A sanction against a user."""

    room: RoomIdText
    user_id: UserIdText
    code: Literal["banned", "muted"]
    until: Moment | None = Field(description="Null means forever.")
