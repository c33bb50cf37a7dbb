"""`exec-model`: runs a program on decrypted models that are in no file system."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.audit_to import AuditTo, recording_manager
from tiktrue_keys.cli.view.outcome import Outcome
from tiktrue_keys.cli.view.progress_bar import progress_bar
from tiktrue_keys.cli.view.signer import signer_json
from tiktrue_keys.errors import UsageError
from tiktrue_keys.models.serving.child import run_child
from tiktrue_keys.models.serving.execute import HeldModel, filled_in, held_models

takes_program = True
SEPARATOR = "--"
LICENSE_VARIABLES = frozenset({"TIKTRUE_LICENSE_KEY", "TIKTRUE_LICENSE_FILE"})

EXAMPLES = (
    ("Run a server on an encrypted model:", "tiktrue-keys exec-model llama.gguf.ttm -- llama-server --model {}"),
    ("Pass two models to a program:", "tiktrue-keys exec-model big.ttm draft.ttm -- llama-server -m {} -md {}"),
)
EXIT_STATUS = {125: "tiktrue-keys itself failed. Any other code is the program's."}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... -- CMD",
            help="Containers, then the program and its arguments, with {} for the path of each model.",
        ),
    ],
    allow_deprecated: Annotated[
        bool, typer.Option("--allow-deprecated", help="Use a deprecated or expired key past its decrypt-until.")
    ] = False,
    allow_unsigned: Annotated[bool, typer.Option("--allow-unsigned", help="Accept an unsigned container.")] = False,
    allow_superseded: Annotated[
        bool, typer.Option("--allow-superseded", help="Accept a container that its model's release does not name.")
    ] = False,
    audit_to: AuditTo = None,
) -> Outcome:
    """Run a program on decrypted models that exist only in memory.

    Reads the license, unless the key was created without one. Each model is decrypted and verified completely into an
    unnamed file in memory (memfd on Linux); this is recorded first. The program opens it by the path that replaces {}
    in its arguments. The memory is in use until the program ends; models that need more than is free, on the machine
    or in a cgroup, are refused before any is taken. TIKTRUE_LICENSE_KEY and TIKTRUE_LICENSE_FILE are
    removed from the program's environment. The exit code is the program's own, or 128 plus the number of the signal
    that ended it.
    """
    context: CommandContext = ctx.obj
    files, program = _split(words)
    filled_in(program, files)
    context.stdout_is_data = True
    manager = recording_manager(context, audit_to)
    license_key = context.license()
    with ExitStack() as stack:
        with progress_bar(context, f"Decrypting {files[0]}") as report:
            held = held_models(
                manager,
                files,
                program=program[0],
                words=program,
                license_key=license_key,
                allow_deprecated=allow_deprecated,
                allow_unsigned=allow_unsigned,
                allow_superseded=allow_superseded,
                progress=report,
                operation_id=context.operation_id,
            )
            models = stack.enter_context(held)
        context.close()  # the program may run for weeks, without our secrets in memory and the keystore open
        environment = {name: value for name, value in context.environment.items() if name not in LICENSE_VARIABLES}
        paths, descriptors = [model.path for model in models], [model.fd for model in models]
        status = run_child(filled_in(program, paths), environment, descriptors)
    return _outcome(program, models, status)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    if SEPARATOR not in words:
        raise UsageError("there is no program to run", "run tiktrue-keys exec-model FILE -- CMD {}")
    at = words.index(SEPARATOR)
    if at == 0:
        raise UsageError("there is no container to decrypt", "run tiktrue-keys exec-model FILE -- CMD {}")
    if any(not file or "\0" in file for file in words[:at]):
        raise UsageError("the name of a container is empty")
    return words[:at], words[at + 1 :]


def _outcome(program: list[str], models: tuple[HeldModel, ...], status: int) -> Outcome:
    return Outcome(
        result={
            "program": program[0],
            "status": status,
            "files": [
                {
                    "path": str(model.source),
                    "file_id": model.file_id.hex(),
                    "model_id": model.key.model_id,
                    "key_id": model.key.key_id,
                    "length": model.length,
                    "signed": model.signed,
                    "signer": signer_json(model.signer),
                }
                for model in models
            ],
        },
        warnings=[notice for model in models for notice in model.warnings],
        shows_data=True,
        exit_code=status,
    )
