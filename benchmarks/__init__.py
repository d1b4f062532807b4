"""Figures that a sceptic can rerun; each states its ratio to a bare loop of the same run."""
