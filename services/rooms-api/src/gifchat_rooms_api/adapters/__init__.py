"""The ports, implemented on MongoDB, Redis and this machine."""
