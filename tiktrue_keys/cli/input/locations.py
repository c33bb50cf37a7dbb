"""The source or destination of a model: a path, a URL, or `-` for standard input or output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.errors import RefusedError, UsageError
from tiktrue_keys.models.storage.location import Place, is_url, local_path, object_place

STREAM = "-"


def is_folder(source: str) -> bool:
    """Return whether `source` is a folder of this machine."""
    return source != STREAM and "\0" not in source and not is_url(source) and os.path.isdir(source)


def model_source(context: CommandContext, source: str) -> Place | BinaryIO:
    """Return the path or URL, or standard input for `-`. Raises RefusedError when that is a terminal."""
    if source != STREAM:
        return model_place(source, "source")
    context.claim_stdin("the model")
    if sys.stdin.isatty():
        raise RefusedError("a model cannot be read from a terminal", "redirect standard input, or give a file")
    return sys.stdin.buffer


def model_destination(context: CommandContext, destination: str | None) -> Place | BinaryIO | None:
    """Return the path or URL, standard output for `-`, or None. Raises RefusedError when that is a terminal."""
    if destination is None:
        return None
    if destination != STREAM:
        return model_place(destination, "output")
    if sys.stdout.isatty():
        raise RefusedError("a model cannot be written to a terminal", "redirect standard output, or use -o FILE")
    context.stdout_is_data = True
    return sys.stdout.buffer


def model_place(text: str, what: str) -> Place:
    """Return the path or URL. Raises UsageError for an empty one and for a URL that is not allowed."""
    if not text or "\0" in text:
        raise UsageError(f"the name of the {what} is empty")
    return object_place(text)


def is_remote_folder(text: str) -> bool:
    """Return whether `text` is a URL that ends with a slash."""
    return is_url(text) and text.endswith("/")


def model_folder(text: str, what: str) -> Path:
    """Return the path of a folder. Raises UsageError for a URL."""
    return local_path(text, what)
