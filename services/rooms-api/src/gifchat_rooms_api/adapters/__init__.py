"""The ports on MongoDB, Redis and this machine."""
