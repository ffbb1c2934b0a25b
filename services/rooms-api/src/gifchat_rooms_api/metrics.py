"""What rooms-api counts and times, for Prometheus."""

from prometheus_client import Counter, Histogram

COMMIT_SECONDS = Histogram(
    "rooms_api_commit_seconds", "From numbering a batch of entries to the majority's acknowledgement."
)
COMMIT_ENTRIES = Histogram(
    "rooms_api_commit_entries", "Entries in one batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
COMMIT_CONFLICTS = Counter("rooms_api_commit_conflicts", "Numbers that another writer of the room took first.")
PUBLISH_DROPPED = Counter("rooms_api_publish_dropped", "Frames dropped because Redis was away for too long.")
REQUESTS = Counter("rooms_api_requests", "Requests by route and status.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram("rooms_api_request_seconds", "Time until a request was answered in full.", ("route",))
REFUSED = Counter("rooms_api_refused", "Refusals by their code.", ("code",))
DECODE_SECONDS = Histogram(
    "rooms_api_decode_seconds", "Decoding one uploaded picture, from the child's start to its end."
)
