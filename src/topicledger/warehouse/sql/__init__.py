"""The contract in SQL, once for all that speak it."""
