"""The commands about keys: generate, list, show, rotate, revoke, validate, cleanup.

Start with `generate.py`. The operations that they call are in `core/operations`.
"""
