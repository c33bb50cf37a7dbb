"""What `restore` and `escrow recover` ask and show: the backup beside the keystore that it would replace."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.outcome import REPEATED, Fields, Outcome
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.preview_restore import Position, RestorePreview
from tiktrue_keys.core.operations.restore import RestoredKeystore

RESTORED, RECOVERED = "restored", "recovered"

AcceptClock = Annotated[
    bool, typer.Option("--accept-clock", help="Confirm that the clock is right, for a backup over 400 days old.")
]


def question(context: CommandContext, source: str, preview: RestorePreview) -> str:
    """Whether to put the backup in the keystore's place."""
    if _in_place(context, source):
        return f"Recover the keystore in {context.keystore} ({_words(preview.backup)}) and bind it to this machine?"
    backup = f"the backup {source} ({_words(preview.backup)})"
    if preview.present is None and preview.present_error is None:
        return f"Put {backup} in {context.keystore}, where there is no keystore?{_elsewhere(preview)}"
    return f"Replace the keystore in {context.keystore} ({_present_words(preview)}) with {backup}?"


def _elsewhere(preview: RestorePreview) -> str:
    """What a rehearsal in a scratch folder would cost."""
    if preview.known is None:
        return ""
    known = f"epoch {preview.known.epoch}, {preview.known.size} records"
    return f" This machine remembers it ({known}): if it lies in another folder, that one will not open any more."


def _in_place(context: CommandContext, source: str) -> bool:
    return os.path.realpath(source) == os.path.realpath(context.keystore / FILE_NAME)


def _present_words(preview: RestorePreview) -> str:
    if preview.present is not None:
        another = "" if preview.same_keystore else "another keystore: "
        return another + _words(preview.present)
    return "none" if preview.present_error is None else f"it does not open: {preview.present_error.message}"


def _words(position: Position) -> str:
    records = f"epoch {position.epoch}, {position.audit_size} records"
    newest = position.newest
    return records if newest is None else f"{records}, the newest {newest.event} at {rfc3339(newest.time)}"


def outcome(
    context: CommandContext, source: str, preview: RestorePreview, done: RestoredKeystore | None, *, verb: str
) -> Outcome:
    """What was put back, in words with `verb` (restored, recovered); `done` None: what would be."""
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
        messages=_messages(context, done, verb),
        ids=[],
        changed=done is not None and done.changed,
        operation_id=None if done is None else done.operation_id,
        warnings=[*_other_keystore(preview), *(() if done is None else done.warnings)],
    )


def _messages(context: CommandContext, done: RestoredKeystore | None, verb: str) -> list[str]:
    if done is None:
        return ["nothing was changed; the backup is whole and opens" + (" on this machine" if verb == RESTORED else "")]
    if not done.changed:
        return [REPEATED]
    words = f"{verb} {context.keystore}"
    if verb == RECOVERED:
        words += f", bound to this machine and the host secret {context.manager.document().host_secret_path}"
    return [words]


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
