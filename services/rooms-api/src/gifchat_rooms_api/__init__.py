"""Rooms, messages, GIFs and moderation: the REST service that alone writes to MongoDB."""
