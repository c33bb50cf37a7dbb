"""What `restore` and `escrow recover` ask and show: the backup beside the keystore that it would replace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.view.envelope import error_json
from tiktrue_keys.cli.view.escape import escaped
from tiktrue_keys.cli.view.keys import container_json
from tiktrue_keys.cli.view.lost import locked_error, lost_json, lost_notices, lost_words
from tiktrue_keys.cli.view.outcome import REPEATED, Fields, Outcome
from tiktrue_keys.core.containers.registry import ContainerRecord
from tiktrue_keys.core.instants import rfc3339
from tiktrue_keys.core.keystore.database import FILE_NAME
from tiktrue_keys.core.keystore.volatile import volatile_when_created
from tiktrue_keys.core.notices import Notice
from tiktrue_keys.core.operations.preview_restore import Position, RestorePreview
from tiktrue_keys.core.operations.restore import RestoredKeystore

if TYPE_CHECKING:
    from tiktrue_keys.core.manager import KeyManager

RESTORED, RECOVERED = "Restored", "Recovered"

AcceptClock = Annotated[
    bool,
    typer.Option(
        "--accept-clock", help="Confirm that the clock is right, for a backup that is more than 400 days old."
    ),
]


def question(context: CommandContext, source: str, preview: RestorePreview) -> str:
    """Return the question whether to replace the keystore with the backup."""
    found = volatile_when_created(context.manager.session.place)
    return f"{found.words}. {_question(context, source, preview)}" if found else _question(context, source, preview)


def _question(context: CommandContext, source: str, preview: RestorePreview) -> str:
    if _in_place(context, source):
        return f"Recover the keystore in {context.keystore} ({_words(preview.backup)}) and bind it to this machine?"
    backup = f"the backup {source} ({_words(preview.backup)})"
    if preview.present is None and preview.present_error is None:
        return f"{_elsewhere(preview)}Put {backup} in {context.keystore}, where there is no keystore?"
    lost = lost_words(preview.lost)
    return f"{lost}Replace the keystore in {context.keystore} ({_present_words(preview)}) with {backup}?"


def _elsewhere(preview: RestorePreview) -> str:
    """Return the warning of a restore into a second folder on the same machine."""
    if preview.known is None:
        return ""
    known = f"epoch {preview.known.epoch}, {preview.known.size} records"
    return f"This machine knows this keystore ({known}); a copy in another folder will stop opening. "


def _in_place(context: CommandContext, source: str) -> bool:
    return os.path.realpath(source) == os.path.realpath(context.keystore / FILE_NAME)


def _present_words(preview: RestorePreview) -> str:
    if preview.present is not None:
        another = "" if preview.same_keystore else "another keystore: "
        return another + _words(preview.present)
    return "none" if preview.present_error is None else f"does not open: {preview.present_error.message}"


def _words(position: Position) -> str:
    records = f"epoch {position.epoch}, {position.audit_size} records"
    newest = position.newest
    return records if newest is None else f"{records}, the newest ({newest.event}) at {rfc3339(newest.time)}"


def outcome(
    context: CommandContext,
    source: str,
    preview: RestorePreview,
    done: RestoredKeystore | None,
    *,
    verb: str,
    rehearsal: KeyManager | None = None,
) -> Outcome:
    """Return what was restored, described with `verb` (restored, recovered); with `done` None, what would be.

    `rehearsal` is the copy of a rehearsal, which replaces nothing.
    """
    restored = None if done is None else done.restored
    replaced = restored.replaced if restored else None
    locked = _locked(rehearsal or context.manager) if done is not None else []
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
            "rehearsal": None if rehearsal is None else str(rehearsal.path),
            "lost": lost_json(preview.lost),
            "locked": [container_json(record) for record in locked],
        },
        view=[Fields(rows)],
        messages=_messages(context, done, verb, rehearsal),
        ids=[],
        changed=done is not None and done.changed,
        operation_id=None if done is None else done.operation_id,
        warnings=[
            *_other_keystore(preview),
            *lost_notices(preview.lost if done is None or rehearsal is not None else None),
            *(() if done is None else done.warnings),
        ],
        error=locked_error(locked, None if replaced is None else str(replaced)),
    )


def _locked(manager: KeyManager) -> list[ContainerRecord]:
    """Return the registered containers that are there and that the restored keystore cannot open."""
    from tiktrue_keys.models.registry.containers import locked_containers

    return [each.record for each in locked_containers(manager)]


def _messages(
    context: CommandContext, done: RestoredKeystore | None, verb: str, rehearsal: KeyManager | None
) -> list[str]:
    if rehearsal is not None:
        folder = escaped(str(rehearsal.path))
        return [f"Rehearsed in {folder}: the backup restores. Look at it with --keystore {folder}."]
    if done is None:
        return [f"Nothing was changed; the backup is intact and opens{' on this machine' * (verb == RESTORED)}."]
    if not done.changed:
        return [REPEATED]
    words = f"{verb} {context.keystore}"
    if verb == RECOVERED:
        words += f", bound to this machine and the host secret {context.manager.document().host_secret_path}"
    return [words]


def _other_keystore(preview: RestorePreview) -> list[Notice]:
    if preview.same_keystore is not False:
        return []
    return [Notice("other-keystore", "the backup is of a different keystore than the present one")]


def _json(position: Position) -> dict[str, Any]:
    newest = position.newest
    return {
        "epoch": position.epoch,
        "audit_size": position.audit_size,
        "newest": None
        if newest is None
        else {"number": newest.number, "time": rfc3339(newest.time), "event": newest.event},
    }
