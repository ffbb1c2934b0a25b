"""The routes, and the shapes at the edge."""
