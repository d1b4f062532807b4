"""The web side of a node."""
