"""`python -m tiktrue_keys` is the command `tiktrue-keys`."""

from __future__ import annotations

from tiktrue_keys.cli.program.entry import main

if __name__ == "__main__":
    main()
