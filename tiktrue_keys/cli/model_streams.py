"""`-` as a model's source or destination: standard input and output as bytes, claimed for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from tiktrue_keys.cli.session import Session
from tiktrue_keys.errors import RefusedError, UsageError

STREAM = "-"


def is_folder(source: str) -> bool:
    """Whether `source` names a folder."""
    return source != STREAM and "\0" not in source and os.path.isdir(source)


def model_source(session: Session, source: str) -> Path | BinaryIO:
    """The path, or standard input for `-`; RefusedError when that is a terminal."""
    if source != STREAM:
        return _path(source, "source")
    session.claim_stdin("the model")
    if sys.stdin.isatty():
        raise RefusedError("a model does not come from a terminal", "redirect standard input, or give a file")
    return sys.stdin.buffer


def model_destination(session: Session, destination: str | None) -> Path | BinaryIO | None:
    """The path, standard output for `-`, None for none; RefusedError when standard output is a terminal."""
    if destination is None:
        return None
    if destination != STREAM:
        return _path(destination, "output")
    if sys.stdout.isatty():
        raise RefusedError("a model does not go to a terminal", "redirect standard output, or give a file with -o")
    session.stdout_is_data = True
    return sys.stdout.buffer


def _path(text: str, what: str) -> Path:
    if not text or "\0" in text:
        raise UsageError(f"the {what} has no name")
    return Path(text)
