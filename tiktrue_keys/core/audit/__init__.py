"""The audit log's pure parts: record, Merkle tree, checkpoint, query, export; and the log itself in the keystore."""
