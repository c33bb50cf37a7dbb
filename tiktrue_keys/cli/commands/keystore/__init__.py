"""The commands about the keystore and this machine: backup, escrow, binding, checks, configuration.

Start with `backup.py`. The operations that they call are in `core/operations` and `recovery`.
"""
