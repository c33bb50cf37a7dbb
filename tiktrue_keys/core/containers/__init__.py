"""Containers as the keystore records them: intents around file operations, and the registry."""
