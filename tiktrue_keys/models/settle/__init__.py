"""Settles what an interrupted process left open."""
