"""Files and a log, in a bucket or a folder."""
