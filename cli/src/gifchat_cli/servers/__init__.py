"""The servers that are not ours: how each is configured, started and found ready."""
