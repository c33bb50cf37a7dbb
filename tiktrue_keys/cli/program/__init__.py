"""The program around every command: process, parser, common options, error boundary.

Start with `main.py`. `boundary.py` turns every exception into an error line, a hint and an exit code; `catalog.py`
lists the commands without importing them. What a single command does is not here.
"""
