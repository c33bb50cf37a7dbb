"""The keystore: one SQLite file of sealed rows that opens on its machine only.

Start with `store.py` (snapshots and transactions) and `schema.py` (the tables); `open.py` and `make.py` say how a
keystore comes to be open. What a row means is not known here: that is `core/keys`, `core/containers`,
`core/dispatch`.
"""
