"""What a command asks for instead of reading the environment or the terminal itself.

Start with `context.py`: a CommandContext finds settings, keystore, license and answers when they are first asked for.
Options of one command do not belong here.
"""
