"""An Engine.IO v4 server: connections without tasks, one frame for all members of a room."""
