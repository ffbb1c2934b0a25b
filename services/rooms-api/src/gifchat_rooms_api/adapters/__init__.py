"""The ports, implemented on MongoDB, Redis and this machine.

A Redis client needs a `socket_timeout`, so that a server that stops answering shows as an error.
"""
