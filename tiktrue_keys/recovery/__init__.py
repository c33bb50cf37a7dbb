"""Recovers a keystore whose machine is lost: an escrow, whose shares open the keystore on another machine.

Start with `escrow.py`. Backup and restore are in `core/operations/backup.py` and `restore.py`.
"""
