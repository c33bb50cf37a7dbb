"""Containers as the keystore records them: intents around file operations, and the registry.

Start with `intents.py`. Reading or writing a container belongs to `models`.
"""
