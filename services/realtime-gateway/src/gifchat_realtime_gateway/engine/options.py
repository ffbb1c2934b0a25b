"""The options of the Engine.IO server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gifchat_realtime_gateway.engine.intake import IntakeBounds
from gifchat_realtime_gateway.engine.relay import Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of one server."""

    allowed_origins: Sequence[str]
    trusted_proxies: str
    """Comma-separated addresses and networks whose X-Forwarded-For is trusted."""
    ping_interval_s: float
    ping_timeout_s: float
    max_bytes: int
    """Limit of a message or polling payload from a client."""
    draining: Callable[[], bool]
    """Whether the node refuses new connections."""
    deflate: bool = False
    """Whether to accept offers of compression."""
    relay: Relay | None = None
    """None for a node without peers."""
    session_of: Callable[[str], str | None] = lambda _cookies: None
    """Returns the id of the user's session in a `Cookie` header; None without a valid one."""
    revoked: Callable[[str], bool] = lambda _session_id: False
    """Whether this session was signed out. Such a session cannot open a connection."""
    namespace_timeout_s: float = 45.0
    """A client must open a Socket.IO namespace within this time, or the server closes its connection."""
    bounds: IntakeBounds = field(default_factory=IntakeBounds)
    """What clients may send, and how many may connect from one address."""
    path: str = "/socket.io"
    """Without a trailing slash."""
