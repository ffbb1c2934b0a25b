"""Servers that the benchmarks start beside the product."""
