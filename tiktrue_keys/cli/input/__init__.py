"""Options and files that several commands read, as values that the packages below take.

Start with `locations.py`. What only one command reads belongs in its own module.
"""
