"""Threads that move segments from a source to a sink: sealing, opening, hashing, progress.

Start with `pipeline.py`. The format of a segment is in `models/format/body.py`; files and objects belong to
`models/storage`.
"""
