"""The keystore's records of containers: intents around file operations, and rows that follow containers.

Start with `intent.py`. The rows themselves are `core/containers`.
"""
