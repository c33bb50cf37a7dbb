"""The command line: the only part that uses typer, rich, the environment and the terminal.

Start with `program/main.py`, which runs one command from its arguments to its exit code, and with one command in
`commands/keys`. Rules about keys, files or the fleet do not belong here: a command parses its arguments, makes one call
into the packages below, and returns what to show.
"""
