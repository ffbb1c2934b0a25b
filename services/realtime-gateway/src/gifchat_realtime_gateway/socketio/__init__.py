"""Socket.IO: the edge that clients talk to."""
