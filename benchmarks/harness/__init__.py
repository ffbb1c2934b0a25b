"""Code that all benchmarks share: machine, servers, load, rounds and report."""
