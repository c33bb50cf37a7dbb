"""Containers as the keystore records them: the intents of file operations, and the registry.

Start with `intents.py`. The package `models` reads and writes containers.
"""
