"""Servers that the benchmarks compare GIF Chat with, and stand-ins."""
