"""The system under test, and what can be broken in it."""
