"""The catalogue of audit events: what each one means, and the members that the detail of its record may have.

Come here to add an event. `--event` takes these names, tiktrue-keys-audit(1) lists them, and tests compare the table
with what is recorded. Another version of this program may have recorded others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class AuditEvent:
    """What an event means, and the members of its detail. EVERYWHERE lists those of any event."""

    meaning: str
    members: tuple[str, ...] = ()


EVERYWHERE: Mapping[str, str] = MappingProxyType(
    {
        "error": "Code of the error that refused it or made it fail.",
        "reason": "Its message; of a revocation, the reason that was given.",
        "path": "File that the operation was about.",
        "paths": "Files, where they are several.",
        "keys": "Keys that it named, where they are several or unknown.",
        "settled": "A later command settled what an interrupted one had begun.",
    }
)
"""Members that the detail of any event may have."""


def _event(meaning: str, members: str = "") -> AuditEvent:
    return AuditEvent(meaning, tuple(members.split()))


CATALOGUE: Mapping[str, AuditEvent] = MappingProxyType(
    {
        "accept-clock": _event("The operator confirmed the clock."),
        "accept-epoch": _event("An issuer's new epoch was accepted.", "issuer epoch size head"),
        "accept-refusals": _event("The operator accepted that a node refuses keys.", "node refused"),
        "acknowledge": _event("Acknowledgements of nodes were read.", "nodes heard node"),
        "approval-add": _event("An approver's signature was added to a plan.", "approval approver key counter"),
        "approval-plan": _event(
            "An operation needs approval; its plan was stored.", "approval operation subject needed"
        ),
        "approval-policy": _event("The approval policy was changed.", "require approvers"),
        "approval-reset": _event("The approval policy was reset by an escrow.", "require approvers"),
        "approval-use": _event("An approved plan was used.", "approval operation subject approvers"),
        "archive": _event("A container was archived: its keys are kept.", "file_id path"),
        "backup": _event("The keystore was copied.", "path records"),
        "backup-removed": _event("An old backup was removed.", "path"),
        "binding-add": _event("A device seals the keystore's secret.", "way facts left alternative"),
        "carry-over": _event("A restore kept what happened after its backup."),
        "challenge": _event("Nodes were asked for their state.", "round nodes"),
        "claim": _event("What unauthenticated headers name was stored.", "claimed dropped refused"),
        "cleanup": _event("A cleanup was refused or failed."),
        "cleanup-cancel": _event("A key is not to be destroyed any more."),
        "cleanup-destroy": _event("A key was destroyed."),
        "cleanup-mark": _event("A key is to be destroyed.", "destroy_at"),
        "clock-gap": _event("The first record after a long silence.", "since until"),
        "decrypt": _event(
            "A container was decrypted.",
            "file_id path destination length allow_deprecated allow_unsigned allow_superseded",
        ),
        "decrypt-block": _event("A model block was decrypted."),
        "decrypt-folder": _event(
            "An encrypted folder was decrypted.",
            "file_id path source files length allow_deprecated allow_unsigned allow_superseded",
        ),
        "deprecate": _event("A received key was replaced by its issuer.", "issuer"),
        "distribute": _event("Keys were sent to nodes.", "envelopes nodes kind count"),
        "encrypt": _event("A model was encrypted.", "file_id path length root old_file_id"),
        "encrypt-folder": _event("A folder was encrypted.", "file_id path files length"),
        "encrypt-folder-resumable": _event(
            "A folder was encrypted, over several runs.", "file_id path files length taken_over"
        ),
        "escrow-create": _event("Shares of an escrow were created.", "escrow shares threshold replaces"),
        "escrow-recover": _event("The keystore was recovered from shares.", "new_epoch last_known"),
        "escrow-verify": _event("Shares of an escrow were verified.", "escrow shares"),
        "exec": _event(
            "A program got decrypted models.", "program file_id path allow_deprecated allow_unsigned allow_superseded"
        ),
        "export-public": _event("The public half of a key was exported."),
        "finding-cleared": _event("A finding that was raised is gone.", "finding subject"),
        "finding-raised": _event("A scheduled run met a finding for the first time.", "finding subject since"),
        "fleet-sync": _event("A round with the fleet was refused or failed."),
        "forget": _event("A container left the registry.", "file_id path subject"),
        "generate": _event("A key was created.", "generation binding expires_at"),
        "intent": _event("An operation on a file begins.", "act file_id path"),
        "issuer-scope": _event("What an issuer may speak for was changed.", "name node_id keys"),
        "keystore-create": _event("The keystore was created.", "facts"),
        "license-enroll": _event("A license was enrolled.", "license_tag"),
        "license-renew": _event("The entry of a license was renewed.", "old new keys"),
        "move": _event("A container lies at another place.", "file_id path keys"),
        "node-add": _event("A node or an issuer was pinned.", "name node_id keystore_id role models count"),
        "node-init": _event("The keystore got its name in the fleet.", "name role"),
        "node-remove": _event("A node or an issuer was unpinned.", "name node_id compromised keys"),
        "node-went-back": _event("A node showed an older state than before.", "node stream number before"),
        "open": _event("A key was not opened."),
        "open-model": _event(
            "A model was opened for reading.", "file_id path allow_deprecated allow_unsigned allow_superseded"
        ),
        "promote": _event("A waiting successor was activated.", "predecessor acknowledged missing"),
        "queue": _event("A key waits to be sent.", "kind nodes count"),
        "rebind": _event("The keystore was sealed to the machine as it is.", "facts dropped"),
        "receive": _event("An envelope of an issuer was applied or refused.", "issuer kind number envelope foreign"),
        "recover-revoked": _event("A container of a revoked key was opened to save it.", "file_id path"),
        "reencrypt": _event("A container got a new data key.", "file_id old_file_id path length root"),
        "reencrypt-folder": _event("An encrypted folder got new data keys.", "file_id path files length"),
        "register": _event("A container was registered.", "file_id path keys"),
        "rekey": _event(
            "The keystore got a new root secret.",
            "new_epoch last_known compromised machine_keys escrow_ended host_secret keys removed",
        ),
        "release": _event(
            "Which containers of a model may be opened was changed.",
            "number epoch named added added_count left leaving withdrawn by",
        ),
        "relicense": _event("A key moved to another license.", "old new keys"),
        "renew-revocation-list": _event("The revocation list was renewed.", "number"),
        "reseal": _event("The keystore was sealed to one changed fact.", "facts shared"),
        "resend": _event("Envelopes are sent to nodes again.", "nodes count"),
        "restore": _event("A backup replaced the keystore.", "new_epoch last_known"),
        "revoke": _event("A key was revoked.", "by"),
        "rewrap": _event("A container moved to another key.", "file_id path"),
        "rotate": _event("A key got a successor.", "successor generation clients"),
        "schema-upgrade": _event("The keystore was upgraded to a newer schema.", "from to path"),
        "sent": _event("Envelopes arrived at the transport, or did not.", "nodes failures"),
        "sign": _event("A container was signed.", "file_id path length root"),
        "unarchive": _event("A container is archived no more.", "file_id path"),
    }
)
"""Every event that this program records, sorted by its name."""

EVENTS = tuple(CATALOGUE)
"""The names of the events."""
