"""The verdict on a run, from records and a dump of the database."""
