"""One module a command: its function `command` parses, makes one call into the package, and returns an Outcome."""
