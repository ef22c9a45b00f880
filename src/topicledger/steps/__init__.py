"""The protocol's steps, in the order of the flow."""
