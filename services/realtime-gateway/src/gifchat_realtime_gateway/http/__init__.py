"""HTTP: routes for operators, the client bundle, and the plain WebSocket."""
