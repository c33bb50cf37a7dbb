"""The commands that show, verify, prove and export the audit log.

Start with `audit_show.py`. The log itself is `core/keystore/audit_log.py`, the formats of its exports
`core/audit/export.py`.
"""
