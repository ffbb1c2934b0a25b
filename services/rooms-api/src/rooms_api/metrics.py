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
