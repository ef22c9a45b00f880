"""Pure values of the protocol: no I/O, no clock, no third-party engine."""
