"""Rooms, messages, GIFs and moderation over REST. Only this service writes to MongoDB."""
