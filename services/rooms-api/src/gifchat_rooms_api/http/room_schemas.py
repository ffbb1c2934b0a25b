"""Shapes of rooms and moderation at the HTTP edge.

What comes in is checked by these models. What goes out is built by the domain (the same payloads that travel on a
channel); the models of it are for the OpenAPI document alone.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gifchat_contracts import limits
from gifchat_rooms_api.domain.moderation import SANCTION_MAX_S
from gifchat_rooms_api.domain.room import password_of, title_of
from gifchat_rooms_api.http.message_schemas import ColorText, Moment, RoomIdText, UserIdText

_STRICT = ConfigDict(extra="forbid", strict=True)

Title = Annotated[
    str,
    AfterValidator(title_of),
    Field(
        min_length=1,
        description=f"1–{limits.TITLE_MAX_CHARS} characters once trimmed; no control characters.",
        examples=["고양이 GIF"],
    ),
]
MaxMembers = Annotated[
    int,
    Field(
        ge=limits.ROOM_MAX_MIN,
        le=limits.ROOM_MAX_MAX,
        description="How many users may be in the room at once.",
        examples=[limits.ROOM_MAX_DEFAULT],
    ),
]
Password = Annotated[
    str,
    AfterValidator(password_of),
    Field(
        max_length=limits.PASSWORD_MAX_CHARS,
        description="No control characters. Empty is the same as none.",
        examples=["meow"],
        json_schema_extra={"format": "password"},
    ),
]
SlowMode = Annotated[
    int,
    Field(
        ge=0,
        le=limits.SLOW_MODE_MAX_S,
        description="Seconds that each user waits between two messages; 0: none.",
        examples=[30],
    ),
]


class NewRoom(BaseModel):
    """A room to make."""

    model_config = _STRICT

    title: Title
    max: MaxMembers = limits.ROOM_MAX_DEFAULT
    password: Password | None = None


class ChangedRoom(BaseModel):
    """What is to change in a room; what is left out stays."""

    model_config = _STRICT

    title: Title | None = None
    max: MaxMembers | None = None
    password: Annotated[
        Password | None,
        Field(description="Null takes it away. Any change voids tickets and passwords given before."),
    ] = None
    slow_mode_s: SlowMode | None = None


class TicketRequest(BaseModel):
    """The way in."""

    model_config = _STRICT

    password: Annotated[
        Password | None,
        Field(description="Of a private room; not needed again for 12 hours, nor by the owner."),
    ] = None


class KickRequest(BaseModel):
    """Whom to remove."""

    model_config = _STRICT

    user_id: UserIdText


class SanctionRequest(BaseModel):
    """For how long."""

    model_config = _STRICT

    seconds: Annotated[
        int | None, Field(ge=1, le=SANCTION_MAX_S, description="Null or left out: for ever.", examples=[600])
    ] = None


class Room(BaseModel):
    """A room as everybody may see it."""

    id: RoomIdText = Field(alias="_id")
    title: str = Field(examples=["고양이 GIF"])
    max: int = Field(examples=[10])
    private: bool = Field(description="Whether entering takes a password.", examples=[False])
    owner: ColorText
    owner_id: UserIdText
    slow_mode_s: int = Field(examples=[0])
    createdAt: Moment  # noqa: N815 - the original's name
    members: int = Field(description="Users in the room now.", examples=[3])


class RoomList(BaseModel):
    """A page of rooms."""

    items: list[Room]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class Ticket(BaseModel):
    """A ticket for `join`."""

    ticket: str = Field(description="Good once, for this session and this room.")
    expires_at: Moment
    room: Room


class Sanction(BaseModel):
    """What holds against a user."""

    room: RoomIdText
    user_id: UserIdText
    code: Literal["banned", "muted"]
    until: Moment | None = Field(description="Null: for ever.")
