"""The keystore: one SQLite file of sealed rows that opens on its machine only."""
