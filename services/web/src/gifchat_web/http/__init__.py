"""The routes and what wraps them: pages, forms, the session, static files and headers."""
