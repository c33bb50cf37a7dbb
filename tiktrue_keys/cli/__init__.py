"""The command line: the only user of typer, rich, the environment and the terminal."""
