"""Start a whole cluster in a test: processes or containers, clients, faults."""
