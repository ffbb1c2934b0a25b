"""One module per attack; each defines `ATTACK`."""
