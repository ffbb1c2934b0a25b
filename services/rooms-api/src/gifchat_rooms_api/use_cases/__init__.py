"""The use cases: one module per verb, on top of the ports.

A new kind of log entry is a fact in `domain.message`, and a use case that appends it, as `delete_message` does.
"""
