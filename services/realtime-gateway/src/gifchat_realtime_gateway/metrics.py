"""The gateway's metrics, for Prometheus."""

import time
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Tally:
    """A counter without a lock, because every event increments one. Only one thread may increment it."""

    __slots__ = ("count", "created_at")

    def __init__(self) -> None:
        self.count = 0
        self.created_at = time.time()


class Tallies(Collector):
    """The tallies of one metric, by label value."""

    def __init__(
        self, name: str, documentation: str, label: str | None = None, *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Register with `registry`."""
        self._name = name
        self._documentation = documentation
        self._labels = [] if label is None else [label]
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def of(self, *values: str) -> Tally:
        """Return the tally for this label value."""
        return self._tallies.setdefault(values, Tally())

    def collect(self) -> Iterable[CounterMetricFamily]:
        """See `Collector`."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, tally in self._tallies.items():
            family.add_metric(values, tally.count, created=tally.created_at)
        return [family]


SOCKETS = Gauge("gateway_sockets", "Engine.IO connections.")
HOSTED_ROOMS = Gauge("gateway_hosted_rooms", "Rooms that this node hosts.")
EVENTS = Tallies("gateway_events", "Events delivered to rooms, by kind.", "kind")
DELIVERIES = Tallies("gateway_deliveries", "Events written to sessions.").of()
DUPLICATES = Counter("gateway_duplicates", "Durable events received again after their delivery.")
REPAIRS = Counter("gateway_repairs", "Range reads that filled gaps.")
RESYNCS = Counter("gateway_resyncs", "Rooms whose stream was restarted, because a gap could not be filled.")
BAD_FRAMES = Counter("gateway_bad_frames", "Undecodable frames received.")
ADMISSIONS = Counter("gateway_admissions", "Decisions about seats, by outcome.", ("outcome",))
JOINS = Counter(
    "gateway_joins", "Sessions admitted, by what they received: all missed events or the newest page.", ("given",)
)
EVICTIONS = Counter("gateway_evictions", "Sessions evicted from a room.")
RESUBSCRIPTIONS = Counter("gateway_resubscriptions", "Reconnections of the feed.")
REFUSED = Counter("gateway_refused", "Refused requests, by code.", ("code",))
RELAYED = Counter("gateway_relayed", "Requests relayed to the node that holds their session, by kind.", ("kind",))
DEMO_REPLIES = Counter("gateway_demo_replies", "Events `reply` in the demo namespace.")
WS_MESSAGES = Counter("gateway_ws_messages", "Messages received on /ws.")
