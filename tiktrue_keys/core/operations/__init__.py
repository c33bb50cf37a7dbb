"""One module for each operation on an opened keystore: generate, rotate, revoke, cleanup, and so on.

Start with `rotate.py`. An operation plans on a snapshot, asks for the license only when the plan needs it, and changes
everything in one transaction; the rules that it applies are in `core/keys`.
"""
