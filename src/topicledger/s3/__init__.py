"""A bucket in S3, for whoever keeps something there: the only importer of boto3."""

PAGE = 1_000
"""How many names one listing gives at most: what S3 gives."""
