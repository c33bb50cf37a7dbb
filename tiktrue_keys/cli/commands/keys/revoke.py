"""`revoke`: revokes keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tiktrue_keys.cli.commands.keys.rotate import rotation_json
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.context.prompts import can_ask
from tiktrue_keys.cli.input.fleet import NOT_SENT, VIA_HELP, transport_if_given
from tiktrue_keys.cli.view.batches import item_json
from tiktrue_keys.cli.view.keys import container_json, container_table, keys_json
from tiktrue_keys.cli.view.next_steps import next_steps, step_lines
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Outcome, Table
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.names import KeyArgumentKind, parse_key_argument
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.results import RevokeResult
from tiktrue_keys.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.fleet.transports.interface import Transport

EXAMPLES = (
    ("Revoke a key:", "tiktrue-keys revoke llama-7b_0123456789abcdef --reason 'laptop stolen' --yes"),
    (
        "Show what revoking every key of a model would do:",
        "tiktrue-keys revoke --model mistral-7b --reason retired --dry-run",
    ),
)
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY_ID", help="Key ids to revoke.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Model of which to revoke every key.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Reason, stored with the key (required).")] = None,
    rotate: Annotated[
        bool,
        typer.Option(
            "--rotate", help="Also give the models an active key, in the same transaction; reads the license."
        ),
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="With --rotate: revoke a pending successor too, and create a new one.")
    ] = False,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
    ] = False,
) -> Outcome:
    """Revoke keys immediately and permanently.

    A revoked key encrypts and decrypts nothing; only reencrypt-model --recover-revoked still opens what it encrypted.
    After a compromise rewrapping is not enough, because a holder of the key may have kept the data keys: re-encrypt the
    containers. Revoking does not destroy a key; cleanup does. Afterwards the next commands are printed in their order.
    With --rotate a pending successor becomes active, or a new one is made.
    """
    context: CommandContext = ctx.obj
    if bool(keys) == (model is not None):
        raise UsageError("give either key ids or --model", "name key ids, or add --model MODEL")
    if reason is None:
        raise UsageError("a revocation needs a reason", "add --reason TEXT")
    if new and not rotate:
        raise UsageError("--new needs --rotate", "add --rotate")
    named = [_by_id(context, argument) for argument in keys or ()]
    license_key = context.license() if rotate else None
    revoke = partial(
        context.manager.revoke, named, model=model, reason=reason, rotate=rotate, new=new, license_key=license_key
    )
    plan = revoke(dry_run=True, operation_id=context.operation_id)
    if dry_run or not plan.dry_run:  # not a plan: what this operation id did the first time
        return _outcome(context, plan)
    context.confirm(f"Revoke {_listed([key.key_id for key in plan.keys])} permanently?")
    context.settle()
    with transport_if_given(context, via) as transport:
        revoked = revoke(operation_id=context.operation_id)
        return _outcome(context, revoked, _send(context, transport, license_key))


def _send(
    context: CommandContext, transport: Transport | None, license_key: Callable[[], bytes] | None
) -> Sequence[Notice]:
    """Tell the nodes at once; what cannot be sent now stays in the outbox, so that an outage is a warning."""
    from tiktrue_keys.fleet.send import send_pending
    from tiktrue_keys.fleet.status import fleet_status

    if transport is not None:
        return send_pending(context.manager, transport, license_key=license_key).warnings
    if any(each.sent < each.issued for each in fleet_status(context.manager).nodes):
        return [NOT_SENT]
    return []


def _by_id(context: CommandContext, argument: str) -> str:
    """The argument, or a key id for a model's name, which means whichever key is active now: not for a script."""
    key = context.manager.find(argument)
    if parse_key_argument(argument).kind is KeyArgumentKind.KEY_ID or key.model_id != argument:
        return argument
    if not can_ask():
        raise RefusedError(
            f"'{argument}' is a model id, not a key id",
            f"give {key.key_id}, its active key, or --model {argument}",
            key_id=key.key_id,
        )
    return key.key_id


def _listed(key_ids: Sequence[str]) -> str:
    return (
        f"key {key_ids[0]}"
        if len(key_ids) == 1
        else f"{len(key_ids)} keys ({', '.join(key_ids[:8])}{' ...' * (len(key_ids) > 8)})"
    )


def _outcome(context: CommandContext, revoked: RevokeResult, sent: Sequence[Notice] = ()) -> Outcome:
    done = "planned" if revoked.dry_run else "revoked"
    successors = {rotation.old.key_id: rotation.new.key_id for rotation in revoked.successors if rotation.new}
    rows = [(key.key_id, done, rfc3339(key.revoked_at) or "", successors.get(key.key_id, "")) for key in revoked.keys]
    view: list[Block] = [Table(("key", "outcome", "since", "successor"), rows)]
    if revoked.containers:
        view.append(container_table(revoked.containers))
    steps = next_steps(context.manager, revoked, unsent=NOT_SENT in sent)
    return Outcome(
        result={
            "dry_run": revoked.dry_run,
            "keys": keys_json(context.manager, revoked.keys),
            "items": [item_json(key.key_id, done) for key in revoked.keys],
            "rotations": [rotation_json(rotation) for rotation in revoked.successors],
            "containers": [container_json(record) for record in revoked.containers],
            "next": [{"command": step.command, "reason": step.reason} for step in steps],
        },
        view=view,
        messages=[*([] if revoked.changed or revoked.dry_run else [REPEATED]), *step_lines(steps)],
        ids=[key.key_id for key in revoked.keys],
        changed=revoked.changed,
        operation_id=revoked.operation_id,
        warnings=[*revoked.warnings, *sent],
    )
