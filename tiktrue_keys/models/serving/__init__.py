"""Decrypted models for other programs, in memory.

Start with `execute.py`. Reading a model inside this process is `models/file/open.py`.
"""
