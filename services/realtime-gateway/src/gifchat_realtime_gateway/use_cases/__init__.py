"""The use cases of the gateway, on top of the ports."""
