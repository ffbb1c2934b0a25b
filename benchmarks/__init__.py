"""Benchmarks of GIF Chat and its peers: one file per question, run with `python -m benchmarks`."""
