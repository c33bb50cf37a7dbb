"""`verify-model`: every byte of a container or an encrypted folder, without releasing one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.folders import Jobs, refuse_jobs
from tiktrue_keys.cli.input.locations import is_folder, model_place
from tiktrue_keys.cli.view.model_results import files_of, verified_folder_json, verified_json
from tiktrue_keys.cli.view.outcome import Line, Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.models.file.verify import Verified, verify_model
from tiktrue_keys.models.folder.verify import VerifiedFolder, verify_folder

EXAMPLES = (
    ("Verify a container:", "tiktrue-keys verify-model llama.gguf.ttm"),
    ("Verify an encrypted folder, two files at once:", "tiktrue-keys verify-model llama-7b.ttm --jobs 2"),
)


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="Container file or URL, or encrypted folder.")],
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept an unsigned container.")] = False,
    allow_superseded: Annotated[
        bool, typer.Option("--allow-superseded", help="Accept a container that its model's release does not name.")
    ] = False,
    jobs: Jobs = None,
) -> Outcome:
    """Verify a container's contents and signature.

    Reads the license, unless the key was created without one. Makes every check that decrypt-model makes, and releases
    no plaintext. Stops at the first error.
    """
    context: CommandContext = ctx.obj
    license_key = context.license()
    verify: Callable[..., Verified | VerifiedFolder] = verify_model
    if is_folder(container):
        verify = partial(verify_folder, jobs=jobs)
    else:
        refuse_jobs(jobs, container)
    with progress_bar(context, f"Verifying {container}") as report:
        found = verify(
            context.manager,
            model_place(container, "container"),
            license_key=license_key,
            allow_deprecated=allow_deprecated,
            allow_unsigned=allow_unsigned,
            allow_superseded=allow_superseded,
            progress=report,
        )
    words, result = _described(found)
    return Outcome(
        result=result,
        view=[Line(f"ok: {words}"), *(Line(f"  {each}") for each in found.checks)],
        ids=[],
        warnings=found.warnings,
    )


def _described(found: Verified | VerifiedFolder) -> tuple[str, dict[str, Any]]:
    if isinstance(found, VerifiedFolder):
        files = files_of(found.files, found.plain)
        return f"{found.path}, {files}, {found.length} bytes", verified_folder_json(found)
    return f"{found.path}, {found.length} bytes, root {found.root.hex()}", verified_json(found)
