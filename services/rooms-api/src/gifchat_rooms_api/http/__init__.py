"""The HTTP routes, and the schemas of their bodies."""
