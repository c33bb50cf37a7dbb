"""The commands to run after a revocation, in their order, with the ids that they need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tiktrue_keys.core.keys.lifecycle import Status
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.core.notices import plural
from tiktrue_keys.core.operations.results import RevokeResult


@dataclass(frozen=True)
class NextStep:
    """A command to type, and why."""

    command: str
    reason: str


def next_steps(manager: KeyManager, revoked: RevokeResult, *, unsent: bool) -> tuple[NextStep, ...]:
    """Return what to do after a revocation, or after one that is only planned. `unsent`: nodes were not told yet."""
    return tuple(_steps(manager, revoked, unsent=unsent))


def step_lines(steps: Sequence[NextStep]) -> list[str]:
    """Return the steps as numbered lines; none where there is nothing to do."""
    if not steps:
        return []
    return ["Next:", *(f"{number}. {step.command}  ({step.reason})" for number, step in enumerate(steps, 1))]


def _steps(manager: KeyManager, revoked: RevokeResult, *, unsent: bool) -> Iterator[NextStep]:
    own = [key for key in revoked.keys if key.origin is None]
    for model in dict.fromkeys(key.model_id for key in own):
        if not _encrypts(manager, model, {key.key_id for key in own}):
            yield NextStep(f"tiktrue-keys rotate {shlex.quote(model)}", f"no key of {model} is active")
    for key in revoked.keys:
        count = sum(key.key_id in record.keys for record in revoked.containers)
        if count:
            command = f"tiktrue-keys reencrypt-model --from {key.key_id} --all --recover-revoked"
            yield NextStep(command, f"{plural(count, 'container')} encrypted under it")
    if unsent:
        yield NextStep("tiktrue-keys fleet sync --via TRANSPORT", "the nodes were not told yet")
    yield NextStep("tiktrue-keys status", "check that nothing is left")


def _encrypts(manager: KeyManager, model: str, revoked: set[str]) -> bool:
    """Return whether the newest key of a chain of the model is active and is not among those that are revoked."""
    heads = (key for key in manager.keys([model]) if key.status is Status.ACTIVE and key.key_id not in revoked)
    return any(key.successor is None for key in heads)
