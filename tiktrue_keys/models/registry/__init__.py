"""What the keystore is told of containers: intents around file operations, rows that follow a container.

Start with `intent.py`. The rows themselves are `core/containers`.
"""
