"""The keystore: one SQLite file of sealed rows that opens only on its machine.

Start with `store.py` (snapshots and transactions) and `schema.py` (the tables); `open.py` opens a keystore and
`make.py` creates one. The packages `core/keys`, `core/containers` and `core/dispatch` define what a row means.
"""
