"""One container in storage: its parts, its data key, its plaintext.

Start with `container.py`. Output files, records and replacement belong to `models/file`.
"""
