"""Provenance: every event is a view of the commit log, kept in columns once it is older."""
