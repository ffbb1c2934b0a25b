"""The routes and middleware: pages, forms, the session, static files and headers."""
