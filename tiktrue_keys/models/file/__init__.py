"""Operations on one model file or container: encrypt, decrypt, rewrap, reencrypt, sign, verify, inspect, open.

Start with `encrypt.py`. Each takes a KeyManager, records an intent before a file changes, and returns a frozen result.
Folders of models belong to `models/folder`.
"""
