"""An Engine.IO v4 server. Idle connections have no task, and a broadcast is encoded once for all members of a room."""
