"""The use cases: one module per verb, on top of the ports.

To add a kind of log entry, add a fact to `domain.message`, and a use case that appends it, like `delete_message`.
"""
