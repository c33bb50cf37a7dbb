"""`restore`: puts a backup in the keystore's place, as a new epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.blocks import Fields, Outcome
from tiktrue_keys.cli.envelope import error_json
from tiktrue_keys.cli.session import Session
from tiktrue_keys.core.acts.copying import RestoredKeystore
from tiktrue_keys.core.acts.previewing import Position, RestorePreview, preview_restore
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.notices import Notice


def command(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE", help="The backup.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Verify the backup and show what would be replaced.")
    ] = False,
    accept_clock: Annotated[
        bool, typer.Option("--accept-clock", help="Confirm that the clock is right, for a backup over 400 days old.")
    ] = False,
) -> Outcome:
    """Put a backup back in the keystore's place, as a new epoch.

    Verifies the backup whole, shows its newest record beside that of the keystore which is there, and asks. The
    replaced keystore is kept beside the new one; keys that it knows to be revoked or destroyed stay so, and what it
    has registered stays known; whatever else happened since the backup is lost. The backup opens only on its own
    machine, with its host secret. Nodes have to accept the new epoch. Reads no license.
    """
    session: Session = ctx.obj
    preview = preview_restore(session.manager.session, Path(source))
    if dry_run:
        return _outcome(session, source, preview, None)
    session.confirm(_question(session, source, preview))
    done = session.manager.restore(source, accept_clock=accept_clock, operation_id=session.operation_id)
    return _outcome(session, source, preview, done)


def _question(session: Session, source: str, preview: RestorePreview) -> str:
    backup = f"the backup {source} ({_words(preview.backup)})"
    if preview.present is None and preview.present_error is None:
        return f"Put {backup} in {session.keystore}, where there is no keystore?"
    return f"Replace the keystore in {session.keystore} ({_present_words(preview)}) with {backup}?"


def _present_words(preview: RestorePreview) -> str:
    if preview.present is not None:
        another = "" if preview.same_keystore else "another keystore: "
        return another + _words(preview.present)
    return "none" if preview.present_error is None else f"it does not open: {preview.present_error.message}"


def _words(position: Position) -> str:
    records = f"epoch {position.epoch}, {position.audit_size} records"
    newest = position.newest
    return records if newest is None else f"{records}, the newest {newest.event} at {rfc3339(newest.time)}"


def _outcome(session: Session, source: str, preview: RestorePreview, done: RestoredKeystore | None) -> Outcome:
    restored = None if done is None else done.restored
    replaced = restored.replaced if restored else None
    rows = [("present", _present_words(preview)), ("backup", _words(preview.backup))]
    if restored is not None:
        rows += [("epoch", str(restored.epoch)), ("kept", "" if replaced is None else str(replaced))]
    return Outcome(
        result={
            "dry_run": done is None,
            "source": source,
            "backup": _json(preview.backup),
            "present": None if preview.present is None else _json(preview.present),
            "present_error": None if preview.present_error is None else error_json(preview.present_error),
            "same_keystore": preview.same_keystore,
            "epoch": restored.epoch if restored else None,
            "audit_size": restored.audit_size if restored else None,
            "replaced": None if replaced is None else str(replaced),
        },
        view=[Fields(rows)],
        messages=_messages(session, done),
        ids=[],
        changed=done is not None and done.changed,
        operation_id=None if done is None else done.operation_id,
        warnings=[*_other_keystore(preview), *(() if done is None else done.warnings)],
    )


def _messages(session: Session, done: RestoredKeystore | None) -> list[str]:
    if done is None:
        return ["nothing was changed; the backup is whole and opens on this machine"]
    if not done.changed:
        return ["nothing was done: this operation id was used before"]
    return [f"restored {session.keystore}"]


def _other_keystore(preview: RestorePreview) -> list[Notice]:
    if preview.same_keystore is not False:
        return []
    return [Notice("other-keystore", "the backup is of another keystore than the one that is there")]


def _json(position: Position) -> dict[str, Any]:
    newest = position.newest
    return {
        "epoch": position.epoch,
        "audit_size": position.audit_size,
        "newest": None
        if newest is None
        else {"number": newest.number, "time": rfc3339(newest.time), "event": newest.event},
    }
