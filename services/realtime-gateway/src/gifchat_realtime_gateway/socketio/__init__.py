"""Socket.IO: the namespaces and events that clients use."""
