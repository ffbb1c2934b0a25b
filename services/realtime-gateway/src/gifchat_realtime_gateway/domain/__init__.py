"""The gateway's rules, as plain values and functions: no I/O, no clock calls."""
