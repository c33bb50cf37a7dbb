"""`rotate`: successors for keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiktrue_keys.cli.commands.keys.after_rotation import error_after, left_behind, move_containers, take_due_backup
from tiktrue_keys.cli.commands.keystore.backup import backup_json, disk_notices
from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.fleet import NOT_SENT, VIA_HELP, transport_if_given
from tiktrue_keys.cli.view.batches import item_json
from tiktrue_keys.cli.view.keys import container_json, keys_json, promotions
from tiktrue_keys.cli.view.outcome import REPEATED, Block, Outcome, Table
from tiktrue_keys.core.dispatch.distribution_request import QUEUED
from tiktrue_keys.core.instants import Seconds, duration_text, parse_duration, rfc3339
from tiktrue_keys.core.keys.key_results import Rotation
from tiktrue_keys.core.keys.lifecycle import DEFAULT_OVERLAP, DEFAULT_WITHIN
from tiktrue_keys.core.keystore.clock import doubt
from tiktrue_keys.core.notices import Notice, plural
from tiktrue_keys.core.operations.results import RotateResult
from tiktrue_keys.errors import TikTrueKeysError, UsageError

if TYPE_CHECKING:
    from tiktrue_keys.fleet.transports.interface import Transport
    from tiktrue_keys.models.file.rewrap import RewrapBatch

EXAMPLES = (
    ("Rotate the key of a model:", "tiktrue-keys rotate llama-7b"),
    (
        "Rotate the keys that expire soon and back up, from cron:",
        "tiktrue-keys rotate --due --backup-to /mnt/backup --quiet",
    ),
)
EXIT_STATUS = {
    5: "With --due: the clock is doubtful.",
    7: "Some keys were not rotated, some containers not rewrapped, or the backup failed; the result lists them.",
}
TAKES_APPROVAL = True


def command(
    ctx: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="Key ids or model ids to rotate.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Rotate every active or expired key.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Rotate the keys that expire soon; for cron and timers.")] = False,
    within: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help=f"With --due: how soon the keys expire (default: {duration_text(DEFAULT_WITHIN)})."
        ),
    ] = None,
    atomic: Annotated[bool, typer.Option("--atomic", help="With --due: rotate all due keys or none.")] = False,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long the old key keeps decrypting without a warning"
            f" (default: {duration_text(DEFAULT_OVERLAP)}).",
        ),
    ] = None,
    lifetime: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Encryption period of the successor (default: that of the old key)."),
    ] = None,
    rotate_every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long the key encrypts before rotate --due rotates it (default: as the old key).",
        ),
    ] = None,
    rotate_before: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long before its end rotate --due rotates the key (default: as the old key)."
        ),
    ] = None,
    notify: Annotated[
        list[str] | None, typer.Option(metavar="NODE", help="Node to send the successor to (repeatable).")
    ] = None,
    notify_all: Annotated[bool, typer.Option("--notify-all", help="Send the successor to every node.")] = False,
    prepublish: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Distribute the successor now and activate it after DURATION."),
    ] = None,
    min_acks: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="With --prepublish: acknowledgements that activate the successor (default: all)."
        ),
    ] = None,
    via: Annotated[str | None, typer.Option(metavar="TRANSPORT", help=VIA_HELP)] = None,
    backup_to: Annotated[
        str | None, typer.Option(metavar="DIR", help="With --due: folder for a backup after a change, and regularly.")
    ] = None,
    no_rewrap: Annotated[bool, typer.Option("--no-rewrap", help="Leave the containers under the old key.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be done, and change nothing.")
    ] = False,
) -> Outcome:
    """Create successors for keys and rewrap their containers.

    Reads the license. Named keys are rotated in one transaction, all or none. --all and --due rotate the keys of the
    given license and those without one, and list the others as failed. --due rotates keys that have at most 7 days, or
    a third of their lifetime, left, and continues past failures; when no key is due it prints nothing and reads no
    license. The old key keeps decrypting during the overlap, and after that with a warning until its decrypt-until.
    A successor of --prepublish waits for acknowledgements at most a day past its date, or a tenth of its lifetime; its
    lifetime begins when it is activated. A node that is silent delays no rotation; it is named in a warning.
    --due also tries again the containers that earlier runs could not rewrap, and names each that it still cannot, also
    with --quiet. With --backup-to it backs up as backup --to does: after a run that changed something, and when the
    newest backup is older than half of the setting limits.backup_age.
    """
    context: CommandContext = ctx.obj
    if bool(keys) + every + due != 1:
        raise UsageError("give exactly one of KEY, --all and --due", "name keys, or add --all or --due")
    if (within is not None or atomic or backup_to is not None) and not due:
        raise UsageError("--within, --atomic and --backup-to need --due", "add --due")
    chosen_lifetime = lifetime if lifetime is not None else context.settings.get("rotate.lifetime")
    license_key = context.license()
    manager = context.manager if dry_run else context.writer
    chosen_overlap = context.duration(overlap, "rotate.overlap", DEFAULT_OVERLAP)
    with nullcontext() if dry_run else transport_if_given(context, via) as transport:
        before = _sync_first(context, transport, license_key, chosen_overlap) if due and not dry_run else []
        rotated = manager.rotate(
            keys or (),
            every=every,
            due=due,
            license_key=license_key,
            within=context.duration(within, "rotate.within", DEFAULT_WITHIN),
            lifetime=None
            if chosen_lifetime is None
            else context.duration(chosen_lifetime, "rotate.lifetime", DEFAULT_WITHIN),
            overlap=chosen_overlap,
            atomic=atomic,
            notify=tuple(notify or ()),
            notify_all=notify_all,
            prepublish=None if prepublish is None else parse_duration(prepublish),
            min_acks=min_acks,
            rotate_every=None if rotate_every is None else parse_duration(rotate_every),
            rotate_before=None if rotate_before is None else parse_duration(rotate_before),
            dry_run=dry_run,
            operation_id=context.operation_id,
        )
        moves = not no_rewrap and prepublish is None
        rewraps = move_containers(context, rotated, license_key, due=due) if moves else None
        sent = _send(context, rotated, transport, license_key)
    changed = rotated.changed or bool(rewraps and rewraps.changed)
    taken, backup_error = None, None
    if backup_to is not None and not dry_run:
        taken, backup_error = take_due_backup(context, backup_to, changed=changed)
    if due and not dry_run:
        _raise_findings(context)
    return Outcome(
        result=_result(context, rotated, rewraps) | {"backup": None if taken is None else backup_json(context, taken)},
        view=_view(rotated, promotions(context.manager, (each.new for each in rotated.rotations if each.new))),
        messages=[*_messages(rotated, rewraps), *([] if taken is None else [f"Backed up to {taken.path}."])],
        ids=[(rotation.new or rotation.old).key_id for rotation in rotated.rotations],
        changed=rotated.changed,
        operation_id=rotated.operation_id,
        warnings=[
            *before,
            *rotated.warnings,
            *(left_behind(rewraps) if moves else [] if prepublish else _left_behind(rotated)),
            *sent,
            *([] if taken is None else [*taken.warnings, *disk_notices(context, taken)]),
        ],
        error=error_after(rotated, rewraps, backup_error),
    )


def _sync_first(
    context: CommandContext, transport: Transport | None, license_key: Callable[[], bytes], overlap: Seconds
) -> Sequence[Notice]:
    """Before the due keys: acknowledgements, promotions, lists. Nothing of the fleet stops the rotation itself."""
    if not context.manager.exists() or doubt(context.manager.clock_reading()) is not None:
        return []  # under a doubtful clock the rotation refuses and says why
    from tiktrue_keys.fleet.housekeeping import promote_ready
    from tiktrue_keys.fleet.sync import sync

    try:
        if transport is None:
            return promote_ready(context.writer, overlap=overlap).warnings
        done = sync(context.writer, transport, license_key=license_key, overlap=overlap, patient=True)
    except TikTrueKeysError as error:
        return [Notice("not-synced", f"no exchange with the fleet before the rotation: {error.message}", error.key_id)]
    if done.outage is None or any(each.code == "outage" for each in done.warnings):
        return done.warnings
    return [*done.warnings, Notice("outage", done.outage.message)]


def _raise_findings(context: CommandContext) -> None:
    """Let programs and sinks know what time has brought; without any, status and doctor say it."""
    if context.tells_others and context.manager.exists():
        with suppress(TikTrueKeysError):  # refused or failed, it was recorded or reported
            context.manager.raise_findings()


def _send(
    context: CommandContext, rotated: RotateResult, transport: Transport | None, license_key: Callable[[], bytes]
) -> Sequence[Notice]:
    """Send what the rotation queued; the outbox has it, so that an outage is a warning."""
    if rotated.dry_run or not any(each.state == QUEUED for each in rotated.distributions):
        return []
    if transport is None:
        return [NOT_SENT]
    from tiktrue_keys.fleet.send import send_pending

    return send_pending(context.manager, transport, license_key=license_key).warnings


def _messages(rotated: RotateResult, rewraps: RewrapBatch | None) -> list[str]:
    moved = sum(each.changed for each in rewraps.done) if rewraps else 0
    if moved:  # also on a repetition, which rewraps what the first run left
        return [f"Rewrapped {plural(moved, 'container')}."]
    is_repeated = rotated.rotations and not rotated.changed and not rotated.dry_run
    return [REPEATED] if is_repeated else []


def _left_behind(rotated: RotateResult) -> list[Notice]:
    """The warning for containers that were left to the old keys on purpose."""
    if rotated.dry_run or not rotated.containers:
        return []
    end = rfc3339(min(rotation.old.decrypt_until for rotation in rotated.rotations))
    count = plural(len(rotated.containers), "container")
    return [Notice("stale-containers", f"{count} not rewrapped; the first stops opening at {end}")]


def _result(context: CommandContext, rotated: RotateResult, rewraps: RewrapBatch | None) -> dict[str, Any]:
    done = "planned" if rotated.dry_run else "rotated"
    new_keys = [rotation.new for rotation in rotated.rotations if rotation.new]
    return {
        "dry_run": rotated.dry_run,
        "keys": keys_json(context.manager, new_keys),
        "rotations": [rotation_json(rotation) for rotation in rotated.rotations],
        "items": [
            *(item_json(rotation.old.key_id, done) for rotation in rotated.rotations),
            *(item_json(failure.key_id, "failed", failure.error) for failure in rotated.failures),
        ],
        "containers": _containers(rotated, rewraps),
    }


def _containers(rotated: RotateResult, rewraps: RewrapBatch | None) -> list[dict[str, Any]]:
    """Every container of a rotated key, and what became of it."""
    if rewraps is None:
        return [container_json(record) | {"outcome": "left", "error": None} for record in rotated.containers]
    from tiktrue_keys.cli.commands.models.rewrap_model import batch_json

    return batch_json(rewraps)


def rotation_json(rotation: Rotation) -> dict[str, Any]:
    """A member of `result.rotations`: the ids of the old and of the new key, null where it is only planned."""
    return {"old": rotation.old.key_id, "new": rotation.new.key_id if rotation.new else None}


def _view(rotated: RotateResult, promoted: Mapping[str, str]) -> list[Block]:
    done = "planned" if rotated.dry_run else "rotated"
    rows: list[tuple[str, ...]] = [
        (
            rotation.old.key_id,
            rotation.new.key_id if rotation.new else "(a new key)",
            rfc3339(rotation.old.overlap_ends_at) or "",
            "; ".join(filter(None, (done, promoted.get(rotation.new.key_id) if rotation.new else None))),
        )
        for rotation in rotated.rotations
    ]
    rows += [(failure.key_id, "", "", f"failed: {failure.error.message}") for failure in rotated.failures]
    return (
        [Table(("old key", "new key", "overlap ends", "outcome"), rows, spare=("overlap ends",), prose=("outcome",))]
        if rows
        else []
    )
