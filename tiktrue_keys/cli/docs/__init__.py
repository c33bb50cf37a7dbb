"""The man pages and completion scripts, generated from the parser.

Start with `generate.py`, which `make generate` runs; `reference.py` describes the parser as values, which the pages and
the shells' scripts are written from. The pages of sections 5 and 7 are written by hand in `man/`.
"""
