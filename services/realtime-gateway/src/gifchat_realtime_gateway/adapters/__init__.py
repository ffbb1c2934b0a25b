"""The ports on their technologies."""
