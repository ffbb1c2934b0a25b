"""Sign a session out: refuse it from now on, and let the gateways close its connections."""

from collections.abc import Sequence
from dataclasses import dataclass

from gifchat_chassis.revocations import Revocation, RevocationsUnavailableError, RevokedSessions
from gifchat_contracts import errors, keys
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_rooms_api.ports import Publisher, Rate, RateLimits, Revocations, StoreUnavailableError


@dataclass(frozen=True, slots=True)
class SignOut:
    """Revokes sessions."""

    store: Revocations
    revoked: RevokedSessions
    publisher: Publisher
    rate_limits: RateLimits
    per_address: Rate
    """Every revocation takes memory in every process for a month."""

    async def sign_out(self, user: Identity, address: str) -> None:
        """Revoke the user's session. A gateway that misses the event reads the revocation.

        Raises:
            Refused: `RATE_LIMITED`.
            StoreUnavailableError: the session may still be valid. Repeating is safe.
        """
        wait_s = await self.rate_limits.take(self.per_address, address)
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)
        self.revoked.add(await self.store.add(user.user_id))
        self.publisher.publish(keys.REVOCATIONS_CHANNEL, Frame(Kind.SESSION_REVOKED, b"", subject=user.user_id))

    async def read(self, at_ms: int) -> Sequence[Revocation]:
        """See `gifchat_chassis.revocations.ReadRevocations`."""
        try:
            return await self.store.since(at_ms)
        except StoreUnavailableError as error:
            raise RevocationsUnavailableError(str(error)) from error
