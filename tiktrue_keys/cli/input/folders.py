"""`--jobs`, the option of commands that take folders."""

from __future__ import annotations

from typing import Annotated

import typer

from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.pipeline.parallel import MAX_JOBS
from tiktrue_keys.models.storage.overlap import THREADS

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        max=MAX_JOBS,
        help=f"For a folder: number of files at once, 1 to {MAX_JOBS} (default: number of processors, at most 4).",
    ),
]

RewrapJobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        max=MAX_JOBS,
        help=f"For a folder: number of files written at once, 1 to {MAX_JOBS} (default: {THREADS}).",
    ),
]


def refuse_jobs(jobs: int | None, what: str) -> None:
    """Raise UsageError for `--jobs` where there is a single file."""
    if jobs is not None:
        raise UsageError("--jobs needs a folder", f"omit it: {what} is not a folder")
