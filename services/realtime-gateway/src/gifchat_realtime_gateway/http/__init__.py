"""HTTP: probes, numbers, and the plain WebSocket."""
