"""A record's bytes to clean columns, or to a rejection that says why."""
