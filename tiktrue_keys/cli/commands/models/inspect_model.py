"""`inspect-model`: what a container claims to be, without a key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tiktrue_keys.cli.context.context import CommandContext
from tiktrue_keys.cli.input.locations import is_folder, model_place
from tiktrue_keys.cli.view.outcome import Block, Fields, Line, Outcome, Table, Tree
from tiktrue_keys.cli.view.signer import signer_json
from tiktrue_keys.errors import TikTrueKeysError
from tiktrue_keys.models.file.inspect import ISSUER_NOT_VERIFIED, VALID, Inspection, inspect_model
from tiktrue_keys.models.folder.inspect import FolderInspection, inspect_folder
from tiktrue_keys.models.format.manifest import ContainerEntry, ManifestEntry

if TYPE_CHECKING:
    from tiktrue_keys.core.keys.authority import Signer

EXAMPLES = (
    ("Show the header of a container:", "tiktrue-keys inspect-model llama.gguf.ttm"),
    ("List the files of an encrypted folder:", "tiktrue-keys inspect-model llama-7b.ttm"),
)


def command(
    ctx: typer.Context,
    container: Annotated[str, typer.Argument(metavar="CONTAINER", help="Container file or URL, or encrypted folder.")],
) -> Outcome:
    """Show what a container claims to be.

    Needs no keystore and no key. Lists what was verified and what was not: a header can be trusted only after
    verify-model, which uses the key. Names the signer where the keystore can be read and knows it as the authority of
    the model.
    """
    context: CommandContext = ctx.obj
    if is_folder(container):
        return _folder_outcome(context, inspect_folder(Path(container)))
    inspected = inspect_model(model_place(container, "container"))
    signer = _signer(context, inspected)
    found = replace(inspected, verified=_verified(inspected, signer), not_verified=_not_verified(inspected, signer))
    return Outcome(
        result=found.to_json() | {"signer": signer_json(signer)},
        view=[Fields(_rows(found, signer)), Line(""), _wraps(found), Line(""), _checks(found)],
        ids=[found.file_id.hex()],
    )


def _signer(context: CommandContext, found: Inspection | FolderInspection) -> Signer | None:
    """The keystore that signed it if it is the authority of the model here, and the keystore can be read."""
    if found.signature != VALID or found.issuer is None:
        return None
    try:
        authority = context.manager.authority(found.model_id) if context.manager.exists() else None
    except TikTrueKeysError:
        return None
    return authority if authority is not None and authority.key == found.issuer else None


def _verified(found: Inspection | FolderInspection, signer: Signer | None) -> tuple[str, ...]:
    """What was verified, with the signer if it is the authority of the model."""
    return (
        found.verified if signer is None else (*found.verified, f"the issuer is {signer}, the authority of the model")
    )


def _not_verified(found: Inspection | FolderInspection, signer: Signer | None) -> tuple[str, ...]:
    return tuple(words for words in found.not_verified if signer is None or words != ISSUER_NOT_VERIFIED)


def _rows(found: Inspection, signer: Signer | None) -> list[tuple[str, str]]:
    return [
        ("container", str(found.path)),
        ("file id", found.file_id.hex()),
        ("model", found.model_id),
        ("name", found.name),
        ("kind", found.kind),
        ("plaintext", f"{found.length} bytes{', written to a pipe' * found.piped}"),
        ("size", f"{found.size} bytes"),
        ("segments", f"{found.segments} of {found.segment_size} bytes"),
        ("origin", found.origin),
        ("root", found.root.hex()),
        ("issuer", found.issuer.hex() if found.issuer else ""),
        ("signature", found.signature),
        *([("signer", str(signer))] if signer else []),
        (
            "header",
            f"sequence {found.sequence}, {'both copies are equal' if found.slots_equal else 'the two copies differ'}",
        ),
    ]


def _wraps(found: Inspection) -> Tree:
    return Tree(
        "opens with", [Tree(f"{wrap.key_id} generation {wrap.generation} ({wrap.type})") for wrap in found.wraps]
    )


def _folder_outcome(context: CommandContext, inspected: FolderInspection) -> Outcome:
    signer = _signer(context, inspected)
    found = replace(inspected, verified=_verified(inspected, signer), not_verified=_not_verified(inspected, signer))
    rows = [
        ("folder", str(found.path)),
        ("folder id", found.folder_id.hex()),
        ("model", found.model_id),
        ("name", found.name),
        ("plaintext", f"{found.length} bytes"),
        ("issuer", found.issuer.hex()),
        ("signature", found.signature),
        *([("signer", str(signer))] if signer else []),
    ]
    files = [(entry.path, _entry_kind(entry), str(entry.length)) for entry in found.files]
    different = [
        *(("missing", path) for path in found.differences.missing),
        *(("added", path) for path in found.differences.added),
        *(("moved", path) for path in found.differences.moved),
        *(("changed", path) for path in found.differences.changed),
    ]
    view: list[Block] = [Fields(rows), Line(""), Table(("file", "kind", "length"), files), Line("")]
    if different:
        view += [Table(("difference", "file"), different), Line("")]
    result = found.to_json() | {"signer": signer_json(signer)}
    return Outcome(result=result, view=[*view, _checks(found)], ids=[found.folder_id.hex()])


def _entry_kind(entry: ManifestEntry) -> str:
    return "container" if isinstance(entry, ContainerEntry) else "unencrypted"


def _checks(found: Inspection | FolderInspection) -> Tree:
    yes = Tree("verified", [Tree(words) for words in found.verified])
    return Tree(
        "checks",
        [yes, Tree("not verified (run tiktrue-keys verify-model)", [Tree(words) for words in found.not_verified])],
    )
