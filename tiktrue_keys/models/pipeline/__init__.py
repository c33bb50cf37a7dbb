"""Threads that move segments from a source to a sink: sealing, opening, hashing, progress."""
