"""Verify sessions and tickets, and issue memberships."""

from collections.abc import Sequence

from itsdangerous import BadData, SignatureExpired

from gifchat_chassis.session_cookie import SessionReader, TokenSigner
from gifchat_contracts import errors, identity, limits
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId, UserId, is_room_id, is_user_id
from gifchat_realtime_gateway.ports import Ticket


class SignedTokens(SessionReader):
    """`ports.Signatures`."""

    def __init__(self, session_secrets: Sequence[str]) -> None:
        """New tokens are signed with the last of `session_secrets`. All of them verify."""
        super().__init__(session_secrets)
        self._tickets = TokenSigner(session_secrets, identity.TICKET_SALT)
        self._memberships = TokenSigner(session_secrets, identity.MEMBERSHIP_SALT)

    def ticket_of(self, token: str) -> Ticket:
        try:
            content, issued_at = self._tickets.read_with_time(token, limits.TICKET_TTL_S)
        except SignatureExpired as error:
            raise Refused(errors.TICKET_EXPIRED) from error
        except BadData as error:
            raise Refused(errors.TICKET_INVALID) from error
        match content:
            case {"r": room_id, "u": user_id, "j": str(ticket_id), "v": int(version)} if is_room_id(
                room_id
            ) and is_user_id(user_id):
                return Ticket(room_id, user_id, version, ticket_id, issued_at)
            case _:
                raise Refused(errors.TICKET_INVALID)

    def membership(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        return self._memberships.sign({"r": room_id, "u": user_id, "v": access_version})
