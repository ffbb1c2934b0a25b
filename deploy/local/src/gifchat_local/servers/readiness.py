"""What it means that a server is not ready."""


class NotReadyError(Exception):
    """A server did not become ready before its deadline."""
