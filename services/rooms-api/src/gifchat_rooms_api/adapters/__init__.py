"""The ports, implemented on MongoDB, Redis and this machine.

A Redis client needs a `socket_timeout`, so that an unresponsive server causes an error.
"""
