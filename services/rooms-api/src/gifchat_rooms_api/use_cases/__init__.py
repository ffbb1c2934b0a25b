"""What the service does, over the ports."""
