"""Verifies sessions and memberships, and issues tickets."""

import hmac
import secrets
from collections.abc import Sequence

from itsdangerous import BadData

from gifchat_chassis.session_cookie import SessionReader, TokenSigner
from gifchat_contracts import identity, limits
from gifchat_contracts.ids import RoomId, UserId, is_room_id, is_user_id
from gifchat_rooms_api.ports import Membership

_ADDRESS_SALT = b"gifchat.owner-address"
_REMEMBERED = 10_000
"""Enough tokens for the users who write at the same time; about 10 MB."""


class SignedTokens(SessionReader):
    """`ports.Signatures`."""

    def __init__(self, session_secrets: Sequence[str]) -> None:
        """The last of `session_secrets` signs; all of them verify."""
        super().__init__(session_secrets, remembered=_REMEMBERED)
        self._tickets = TokenSigner(session_secrets, identity.TICKET_SALT)
        self._memberships = TokenSigner(session_secrets, identity.MEMBERSHIP_SALT, remembered=_REMEMBERED)
        self._address_key = hmac.digest(session_secrets[-1].encode(), _ADDRESS_SALT, "sha256")

    def address_digest(self, address: str) -> str:
        """Return a keyed digest of an address. Without the secret, the address cannot be derived from it."""
        return hmac.digest(self._address_key, address.encode(), "sha256").hex()[:24]

    def ticket(self, room_id: RoomId, user_id: UserId, access_version: int) -> str:
        return self._tickets.sign({"r": room_id, "u": user_id, "j": secrets.token_urlsafe(12), "v": access_version})

    def membership_of(self, token: str) -> Membership | None:
        try:
            content, issued_at = self._memberships.read_with_time(token, limits.MEMBERSHIP_TTL_S)
        except BadData:
            return None
        match content:
            case {"r": room_id, "u": user_id, "v": int(version)} if is_room_id(room_id) and is_user_id(user_id):
                return Membership(room_id, user_id, version, issued_at)
            case _:
                return None
