"""The nodes of a cluster in memory."""

from dataclasses import dataclass, field


@dataclass
class NodeStore:
    """The registry that all nodes share. While `down`, it does not answer."""

    live: dict[str, str] = field(default_factory=dict)
    """Tag → address."""
    remembered: set[str] = field(default_factory=set)
    """Tags of nodes whose leases expired recently."""
    down: bool = False


class FakeNodes:
    """`gifchat_realtime_gateway.ports.Nodes`."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._live: dict[str, str] = {}
        self._remembered: set[str] = set()

    async def address_of(self, tag: str) -> str | None:
        """See the port."""
        self._look()
        return self._live.get(tag)

    async def remembers(self, tag: str) -> bool:
        """See the port."""
        self._look()
        return tag in self._live or tag in self._remembered

    def _look(self) -> None:
        if not self._store.down:
            self._live, self._remembered = dict(self._store.live), set(self._store.remembered)
