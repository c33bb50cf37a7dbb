"""The parts of the audit log that need no keystore: record, Merkle tree, checkpoint, query, export.

Start with `record.py`. The log inside a keystore's transaction is `core/keystore/audit_log.py`.
"""
