"""The commands about models: encrypt, decrypt, rewrap, verify, run a program on them, and the registry.

Start with `encrypt_model.py`. The operations that they call are in `models/file` and `models/folder`.
"""
