"""The domain rules as values and pure functions, without I/O or a clock."""
