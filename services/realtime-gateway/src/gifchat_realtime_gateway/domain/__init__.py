"""Rules as values: no I/O, no clock calls."""
