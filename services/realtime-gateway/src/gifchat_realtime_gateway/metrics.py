"""What a gateway counts, for Prometheus."""

import time
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Tally:
    """A counter on the path of every event, added to as it is: the library's takes a lock. One thread counts."""

    __slots__ = ("count", "created_at")

    def __init__(self) -> None:
        self.count = 0
        self.created_at = time.time()


class Tallies(Collector):
    """Tallies of one name, by the value of a label."""

    def __init__(
        self, name: str, documentation: str, label: str | None = None, *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Registers itself with `registry`."""
        self._name = name
        self._documentation = documentation
        self._labels = [] if label is None else [label]
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def of(self, *values: str) -> Tally:
        """The tally with this value of the label."""
        return self._tallies.setdefault(values, Tally())

    def collect(self) -> Iterable[CounterMetricFamily]:
        """See `Collector`."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, tally in self._tallies.items():
            family.add_metric(values, tally.count, created=tally.created_at)
        return [family]


SOCKETS = Gauge("gateway_sockets", "Engine.IO connections.")
HOSTED_ROOMS = Gauge("gateway_hosted_rooms", "Rooms whose channel this node hears.")
EVENTS = Tallies("gateway_events", "Events handed to fan-out, by kind.", "kind")
DELIVERIES = Tallies("gateway_deliveries", "Events written to sessions.").of()
DUPLICATES = Counter("gateway_duplicates", "Durable events that had been delivered before.")
REPAIRS = Counter("gateway_repairs", "Range reads to fill a gap.")
RESYNCS = Counter("gateway_resyncs", "Rooms started anew, because what was missing could not be filled in.")
BAD_FRAMES = Counter("gateway_bad_frames", "What came on a channel and was no frame.")
ADMISSIONS = Counter("gateway_admissions", "Decisions over seats, by outcome.", ("outcome",))
JOINS = Counter("gateway_joins", "Sessions let in, by what they were given.", ("given",))
EVICTIONS = Counter("gateway_evictions", "Sessions taken out of a room.")
RESUBSCRIPTIONS = Counter("gateway_resubscriptions", "Times that the feed connected anew.")
REFUSED = Counter("gateway_refused", "Refusals by their code.", ("code",))
RELAYED = Counter("gateway_relayed", "Requests relayed to the node that holds their session, by kind.", ("kind",))
