"""The use cases, built on the ports: one module each.

To add a kind of log entry, add a fact to `domain.message`, and a use case that appends it, like `delete_message`.
"""
