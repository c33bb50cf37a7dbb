"""The parts of the audit log that need no keystore: record, Merkle tree, checkpoint, query and export.

Start with `record.py`, the content of one record. The log inside a keystore's transaction is
`core/keystore/audit_log.py`.
"""
