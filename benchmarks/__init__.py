"""How fast the product is, beside the limits of its parts and beside others, measured in one run. See README.md."""
