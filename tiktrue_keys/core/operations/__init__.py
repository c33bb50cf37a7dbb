"""One module for each operation on an opened keystore: generate, rotate, revoke, cleanup, and so on."""
