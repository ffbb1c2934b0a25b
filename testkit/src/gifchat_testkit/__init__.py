"""Test support: a whole cluster of processes or containers, clients, fakes, and proxies that break connections."""
