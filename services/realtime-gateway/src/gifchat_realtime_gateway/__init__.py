"""The Socket.IO gateway: seats, delivery, repair and recovery."""
