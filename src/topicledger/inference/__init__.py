"""A declaration from a sample of records: what was seen, the types that hold it, the key, the DAG file. Pure."""
