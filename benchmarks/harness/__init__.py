"""What all benchmarks share: the machine, the servers, the load, rounds, and the report."""
