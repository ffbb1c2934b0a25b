"""The Prometheus metrics of rooms-api."""

from prometheus_client import Counter, Histogram

COMMIT_SECONDS = Histogram(
    "rooms_api_commit_seconds", "Seconds from numbering a batch of entries to the acknowledgement by a majority."
)
COMMIT_ENTRIES = Histogram("rooms_api_commit_entries", "Entries per batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
COMMIT_CONFLICTS = Counter("rooms_api_commit_conflicts", "Seqs that another writer of the room took first.")
PUBLISH_DROPPED = Counter("rooms_api_publish_dropped", "Frames dropped because Redis was down for too long.")
REFUSED = Counter("rooms_api_refused", "Refused or failed requests, by the code of the answer.", ("code",))
DECODE_SECONDS = Histogram(
    "rooms_api_decode_seconds", "Seconds to decode one uploaded picture, from the start of the child to its exit."
)
