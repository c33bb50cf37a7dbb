"""One module for each operation on an opened keystore: generate, rotate, revoke, cleanup, and so on.

Start with `rotate.py`. An operation plans on a snapshot, asks for the license only when the plan needs it, and makes
all changes in one transaction. It applies the rules in `core/keys`.
"""
