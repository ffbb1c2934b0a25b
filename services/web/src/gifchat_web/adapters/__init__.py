"""The ports, implemented over HTTP."""
