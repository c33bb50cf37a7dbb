"""The commands, one module for each, in a folder for each group of the help text.

Each module has a function `command`, which parses, makes one call into the packages below, and returns an Outcome.
Start with `keys/generate.py`. Options that two commands share belong in `cli/input`, their output in `cli/view`.
"""
