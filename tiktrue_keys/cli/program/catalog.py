"""The name, summary and module of every command, so that `--help` does not import any of them.

A test compares the summaries with the commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class CatalogEntry:
    """One command (`module` below tiktrue_keys.cli.commands), or a family of commands (`children`).

    `default` names the child that runs when the family is called without one.
    """

    summary: str
    module: str = ""
    section: str = ""
    children: Mapping[str, CatalogEntry] = field(default_factory=dict)
    default: str = ""
    new_name: str = ""


PageSections = Mapping[str, Mapping[str, str]]
"""Further sections of a command's page: by title, names and what they mean."""

Examples = tuple[tuple[str, str], ...]
"""What an example is for, and the line to type."""

PROGRAM_EXAMPLES: Examples = (
    ("Create a key:", "tiktrue-keys generate llama-7b"),
    ("Encrypt a model under it:", "tiktrue-keys encrypt-model llama.gguf --key llama-7b"),
)

KEYS, MODELS, WATCH, KEYSTORE, FLEET, OTHER = "Keys", "Models", "Watch", "Keystore", "Fleet", "Other"

CATALOG: Mapping[str, CatalogEntry] = {
    "generate": CatalogEntry("Create a key that opens only on this machine.", "keys.generate", KEYS),
    "list": CatalogEntry("List keys and their states.", "keys.list_keys", KEYS),
    "show": CatalogEntry("Show a key, its rotation chain and the containers that need it.", "keys.show", KEYS),
    "rotate": CatalogEntry("Create successors for keys and rewrap their containers.", "keys.rotate", KEYS),
    "revoke": CatalogEntry("Revoke keys immediately and permanently.", "keys.revoke", KEYS),
    "validate": CatalogEntry("Check that keys are intact and open on this machine.", "keys.validate", KEYS),
    "cleanup": CatalogEntry("Mark keys that nothing needs, and destroy those marked before.", "keys.cleanup", KEYS),
    "encrypt-model": CatalogEntry(
        "Encrypt a model: a file, a folder, a URL or standard input.", "models.encrypt_model", MODELS
    ),
    "decrypt-model": CatalogEntry("Decrypt a container or an encrypted folder.", "models.decrypt_model", MODELS),
    "rewrap-model": CatalogEntry(
        "Move containers to the active key of their model, without rewriting the body.", "models.rewrap_model", MODELS
    ),
    "reencrypt-model": CatalogEntry(
        "Encrypt a container again, under a new data key.", "models.reencrypt_model", MODELS
    ),
    "verify-model": CatalogEntry("Verify a container's contents and signature.", "models.verify_model", MODELS),
    "inspect-model": CatalogEntry("Show what a container claims to be.", "models.inspect_model", MODELS),
    "sign-model": CatalogEntry("Sign a container that was encrypted with --recipient.", "models.sign_model", MODELS),
    "exec-model": CatalogEntry(
        "Run a program on decrypted models that exist only in memory.", "models.exec_model", MODELS
    ),
    "models": CatalogEntry(
        "List, find, release, archive and forget registered containers.",
        section=MODELS,
        default="list",
        children={
            "list": CatalogEntry("List the registered containers.", "models.models_list"),
            "scan": CatalogEntry("Find containers in a folder and register them.", "models.models_scan"),
            "release": CatalogEntry(
                "Release containers and folders of a model, and withdraw them.", "models.models_release"
            ),
            "archive": CatalogEntry("Mark a container as offline on purpose.", "models.models_archive"),
            "forget": CatalogEntry("Remove a container from the registry.", "models.models_forget"),
        },
    ),
    "status": CatalogEntry("Show the keystore's state and what needs attention.", "keystore.status_screen", WATCH),
    "doctor": CatalogEntry("Run every read-only check.", "keystore.doctor", WATCH),
    "metrics": CatalogEntry("Print the keystore's state as Prometheus metrics.", "keystore.metrics", WATCH),
    "audit": CatalogEntry(
        "Show, verify, export and prove the audit log.",
        section=WATCH,
        default="show",
        children={
            "show": CatalogEntry("Show audit records.", "audit.audit_show"),
            "verify": CatalogEntry("Verify the whole log against its signed head.", "audit.audit_verify"),
            "export": CatalogEntry("Write the log in another program's format.", "audit.audit_export"),
            "checkpoint": CatalogEntry("Print the log's signed head, or keep it elsewhere.", "audit.audit_checkpoint"),
            "prove": CatalogEntry("Print a proof that a record is in the log.", "audit.audit_prove"),
            "check-proof": CatalogEntry("Verify a proof that a record is in a log.", "audit.audit_check_proof"),
        },
    ),
    "backup": CatalogEntry("Copy the keystore, for restore or escrow recover.", "keystore.backup", KEYSTORE),
    "restore": CatalogEntry("Replace the keystore by a backup, as a new epoch.", "keystore.restore", KEYSTORE),
    "escrow": CatalogEntry(
        "Recover the keystore on another machine by shares.",
        section=KEYSTORE,
        default="show",
        children={
            "create": CatalogEntry(
                "Create shares that recover the keystore elsewhere, with a backup.",
                "keystore.escrow_create",
            ),
            "verify": CatalogEntry("Prove that shares open the keystore, and record it.", "keystore.escrow_verify"),
            "show": CatalogEntry(
                "Show the escrow's shares, its threshold and when it was last verified.", "keystore.escrow_show"
            ),
            "recover": CatalogEntry(
                "Recover a keystore with an escrow's shares, and bind it to this machine.", "keystore.escrow_recover"
            ),
        },
    ),
    "binding": CatalogEntry(
        "Show what keys are bound to, and bind them to a TPM, a token or a server.",
        section=KEYSTORE,
        default="show",
        children={
            "show": CatalogEntry("Show the facts that keys are bound to.", "keystore.binding_show"),
            "add": CatalogEntry(
                "Bind the keystore to a TPM, a PKCS#11 token or a transit server.", "keystore.binding_add"
            ),
            "list": CatalogEntry("List what opens the keystore on this machine.", "keystore.binding_list"),
            "test": CatalogEntry("Open the keystore by each way, and say which ones work.", "keystore.binding_test"),
            "remove": CatalogEntry("Remove one of the ways that open the keystore.", "keystore.binding_remove"),
        },
    ),
    "rebind": CatalogEntry("Seal the keystore to this machine as it is now.", "keystore.rebind", KEYSTORE),
    "rekey": CatalogEntry("Renew the root secret that seals the keystore.", "keystore.rekey", KEYSTORE),
    "relicense": CatalogEntry("Move every key of one license to another.", "keystore.relicense", KEYSTORE),
    "approvals": CatalogEntry(
        "Require that other people approve an operation.",
        section=KEYSTORE,
        default="list",
        children={
            "policy": CatalogEntry(
                "Show or change which operations need approval, and by whom.", "keystore.approvals_policy"
            ),
            "list": CatalogEntry("List the operations that wait for approval.", "keystore.approvals_list"),
            "export": CatalogEntry("Write the text that approvers sign.", "keystore.approvals_export"),
            "add": CatalogEntry("Add an approver's signature to the plan that it signs.", "keystore.approvals_add"),
        },
    ),
    "fleet": CatalogEntry(
        "Exchange keys with other machines.",
        section=FLEET,
        default="sync",
        children={
            "init": CatalogEntry("Give this keystore its name and its role in the fleet.", "fleet.fleet_init"),
            "card": CatalogEntry("Write this keystore's card, for the other side to pin.", "fleet.fleet_card"),
            "add": CatalogEntry("Pin another keystore's card.", "fleet.fleet_add"),
            "list": CatalogEntry("List the pinned nodes and issuers.", "fleet.fleet_list"),
            "show": CatalogEntry(
                "Show a node or an issuer, and the keys that were sent to it or came from it.", "fleet.fleet_show"
            ),
            "remove": CatalogEntry(
                "Unpin a node or an issuer; nothing more is sent to it or taken from it.", "fleet.fleet_remove"
            ),
            "status": CatalogEntry(
                "Show what each node has, what is still waiting, and the pinned issuers.", "fleet.fleet_status"
            ),
            "send": CatalogEntry("Send keys to nodes, each sealed to that node's machine.", "fleet.fleet_send"),
            "receive": CatalogEntry(
                "Apply and acknowledge what the pinned issuers sent.",
                "fleet.fleet_receive",
            ),
            "sync": CatalogEntry(
                "Read acknowledgements, promote keys, renew revocation lists and send the queue.", "fleet.fleet_sync"
            ),
            "accept-epoch": CatalogEntry(
                "Accept an issuer's new epoch, after its keystore was restored.", "fleet.fleet_accept_epoch"
            ),
        },
    ),
    "export-public": CatalogEntry(
        "Write the public half of a key, to which others can encrypt.", "models.export_public", FLEET
    ),
    "config": CatalogEntry(
        "Show the configuration in force.",
        section=OTHER,
        default="show",
        children={"show": CatalogEntry("Show each setting and where it comes from.", "keystore.config_show")},
    ),
    "completion": CatalogEntry("Print the completion script of a shell.", "keystore.completion", OTHER),
}


def _old_name_of(family: str, child: str) -> CatalogEntry:
    return replace(CATALOG[family].children[child], new_name=f"{family} {child}")


OLD_NAMES: Mapping[str, CatalogEntry] = {
    "fingerprint": _old_name_of("binding", "show"),
    "distribute": _old_name_of("fleet", "send"),
    "receive": _old_name_of("fleet", "receive"),
    "node": CatalogEntry(
        "Run fleet commands by their old names.",
        default="list",
        children={
            "init": _old_name_of("fleet", "init"),
            "export": _old_name_of("fleet", "card"),
            "add": _old_name_of("fleet", "add"),
            "list": _old_name_of("fleet", "list"),
            "show": _old_name_of("fleet", "show"),
            "status": _old_name_of("fleet", "status"),
            "remove": _old_name_of("fleet", "remove"),
            "accept-epoch": _old_name_of("fleet", "accept-epoch"),
        },
        new_name="fleet",
    ),
}
"""Names of version 0.1 that still run, as they did; help, completions and the program's page do not list them."""
