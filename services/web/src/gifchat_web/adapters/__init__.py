"""The ports, implemented with a technology each."""
