"""The formats as bytes and values: header, slots, body, trailer, manifest, recipient file, block. Pure.

Start with `header.py`; tiktrue-keys-format(5) is the specification. Nothing here opens a file or knows a keystore.
"""
