"""The shipped pipeline: the sign-up event, its clean-up, and its simulated source."""
