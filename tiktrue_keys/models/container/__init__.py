"""One container as it lies in storage: its parts, its data key, its plaintext.

Start with `container.py`. Which file is taken, what is recorded and what replaces what belongs to `models/file`.
"""
