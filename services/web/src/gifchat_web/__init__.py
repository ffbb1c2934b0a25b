"""The pages, the forms and the session cookie."""
