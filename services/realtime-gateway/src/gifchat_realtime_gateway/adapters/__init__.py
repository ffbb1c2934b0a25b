"""The ports, implemented on Redis, rooms-api and signed tokens."""
