"""Approval by other people: the policy, the plans that wait for signatures, and the check of an OpenSSH signature.

Start with `proposals.py`. It is a rule that the operations keep, not cryptography: tiktrue-keys-security(7). What an
operation is and does belongs to the package that does it.
"""
