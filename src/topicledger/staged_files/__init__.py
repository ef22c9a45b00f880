"""Staged files: the only place that touches them. They exist for others only through their manifest."""
