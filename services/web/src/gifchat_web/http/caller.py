"""Reads the caller and the room id from a request."""

from starlette.requests import Request

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, is_room_id
from gifchat_web.http.language import language_for
from gifchat_web.ports import Caller


def caller_of(request: Request) -> Caller:
    """Return the user on whose behalf we call rooms-api."""
    address = request.client.host if request.client else ""
    return Caller(request.state.session.cookie, address, language_for(request))


def room_id_of(request: Request) -> RoomId:
    """Return the room id in the path.

    Raises:
        Refused: `ROOM_NOT_FOUND` if it is not a room id.
    """
    value: str = request.path_params["room_id"]
    if not is_room_id(value):
        raise Refused(errors.ROOM_NOT_FOUND)
    return value
