"""What a gateway counts, for Prometheus."""

from prometheus_client import Counter, Gauge

SOCKETS = Gauge("gateway_sockets", "Engine.IO connections.")
HOSTED_ROOMS = Gauge("gateway_hosted_rooms", "Rooms whose channel this node hears.")
EVENTS = Counter("gateway_events", "Events handed to fan-out, by kind.", ("kind",))
DELIVERIES = Counter("gateway_deliveries", "Events written to sessions.")
DUPLICATES = Counter("gateway_duplicates", "Durable events that had been delivered before.")
REPAIRS = Counter("gateway_repairs", "Range reads to fill a gap.")
RESYNCS = Counter("gateway_resyncs", "Rooms started anew, because what was missing could not be filled in.")
BAD_FRAMES = Counter("gateway_bad_frames", "What came on a channel and was no frame.")
ADMISSIONS = Counter("gateway_admissions", "Decisions over seats, by outcome.", ("outcome",))
JOINS = Counter("gateway_joins", "Sessions let in, by what they were given.", ("given",))
EVICTIONS = Counter("gateway_evictions", "Sessions taken out of a room.")
RESUBSCRIPTIONS = Counter("gateway_resubscriptions", "Times that the feed connected anew.")
REFUSED = Counter("gateway_refused", "Refusals by their code.", ("code",))
