"""How fast the product is, beside the limits of its parts and beside others, measured in one run. See README.md."""

MALFORMED = 0.01
"""Share of the records on a topic."""
