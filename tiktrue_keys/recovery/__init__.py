"""When the machine is gone: an escrow, whose shares recover a keystore on another machine.

Start with `escrow.py`. Backups and their restore are `core/operations/backup.py` and `restore.py`.
"""
