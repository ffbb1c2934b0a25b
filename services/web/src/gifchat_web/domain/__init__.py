"""The rules, as values and pure functions: no I/O and no clock."""
