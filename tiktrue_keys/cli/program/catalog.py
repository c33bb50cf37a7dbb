"""Every command's name, summary and module, so that `--help` imports none of them. A test holds it against the real
commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class CatalogEntry:
    """One command (`module` below tiktrue_keys.cli.commands), or a family of commands (`children`).

    `default` names the child that the bare family runs. `new_name` is set for an old name: it runs the same command,
    and stands in no list.
    """

    summary: str
    module: str = ""
    section: str = ""
    children: Mapping[str, CatalogEntry] = field(default_factory=dict)
    default: str = ""
    new_name: str = ""


KEYS, MODELS, WATCH, KEYSTORE, FLEET, OTHER = "Keys", "Models", "Watch", "Keystore", "Fleet", "Other"

CATALOG: Mapping[str, CatalogEntry] = {
    "generate": CatalogEntry("Make a key that opens only on this machine.", "keys.generate", KEYS),
    "list": CatalogEntry("List keys and their states.", "keys.list_keys", KEYS),
    "show": CatalogEntry("Show one key, its chain and the containers that need it.", "keys.show", KEYS),
    "rotate": CatalogEntry("Make a successor for keys and rewrap their models.", "keys.rotate", KEYS),
    "revoke": CatalogEntry("Withdraw keys at once and for good.", "keys.revoke", KEYS),
    "validate": CatalogEntry("Check that keys are whole and open on this machine.", "keys.validate", KEYS),
    "cleanup": CatalogEntry("Mark and destroy keys that nothing needs any more.", "keys.cleanup", KEYS),
    "encrypt-model": CatalogEntry("Encrypt a model file, folder or standard input.", "models.encrypt_model", MODELS),
    "decrypt-model": CatalogEntry("Decrypt a model container.", "models.decrypt_model", MODELS),
    "rewrap-model": CatalogEntry(
        "Move a container to its model's active key; the body stays as it is.", "models.rewrap_model", MODELS
    ),
    "reencrypt-model": CatalogEntry(
        "Encrypt a container anew, under a new data key.", "models.reencrypt_model", MODELS
    ),
    "verify-model": CatalogEntry("Check a container's bytes and signature.", "models.verify_model", MODELS),
    "inspect-model": CatalogEntry("Show what a container says about itself.", "models.inspect_model", MODELS),
    "sign-model": CatalogEntry("Sign a container that was encrypted with --recipient.", "models.sign_model", MODELS),
    "exec-model": CatalogEntry(
        "Run a program on decrypted models, which it reads from memory.", "models.exec_model", MODELS
    ),
    "models": CatalogEntry(
        "The registry of known containers.",
        section=MODELS,
        default="list",
        children={
            "list": CatalogEntry("List the registered containers.", "models.models_list"),
            "scan": CatalogEntry("Find containers in a folder and register them.", "models.models_scan"),
            "forget": CatalogEntry("Take a container out of the registry.", "models.models_forget"),
        },
    ),
    "doctor": CatalogEntry("Run every read-only check.", "keystore.doctor", WATCH),
    "metrics": CatalogEntry("Print the keystore's state as Prometheus metrics.", "keystore.metrics", WATCH),
    "audit": CatalogEntry(
        "The audit log: show, verify, prove, export.",
        section=WATCH,
        default="show",
        children={
            "show": CatalogEntry("Show audit records.", "audit.audit_show"),
            "verify": CatalogEntry("Check the whole log against its signed head.", "audit.audit_verify"),
            "export": CatalogEntry("Write the log in another program's format.", "audit.audit_export"),
            "checkpoint": CatalogEntry("Print the log's signed head.", "audit.audit_checkpoint"),
            "prove": CatalogEntry("Prove that a record is in the log.", "audit.audit_prove"),
        },
    ),
    "backup": CatalogEntry(
        "Copy the keystore to a file: for restore here, or with an escrow's shares elsewhere.",
        "keystore.backup",
        KEYSTORE,
    ),
    "restore": CatalogEntry("Put a backup back in the keystore's place, as a new epoch.", "keystore.restore", KEYSTORE),
    "escrow": CatalogEntry(
        "Shares that recover the keystore on another machine.",
        section=KEYSTORE,
        default="show",
        children={
            "create": CatalogEntry(
                "Make shares that recover the keystore on another machine, together with a backup.",
                "keystore.escrow_create",
            ),
            "verify": CatalogEntry("Show that shares open the keystore, and record it.", "keystore.escrow_verify"),
            "show": CatalogEntry(
                "Show the escrow: how many shares it has, and when they were last verified.", "keystore.escrow_show"
            ),
            "recover": CatalogEntry(
                "Recover a keystore with an escrow's shares, and bind it to this machine.", "keystore.escrow_recover"
            ),
        },
    ),
    "binding": CatalogEntry(
        "What keys are bound to.",
        section=KEYSTORE,
        default="show",
        children={"show": CatalogEntry("Show the facts that keys are bound to.", "keystore.binding_show")},
    ),
    "rebind": CatalogEntry("Seal the keystore to the machine as it is now.", "keystore.rebind", KEYSTORE),
    "relicense": CatalogEntry("Move every key of one license to another.", "keystore.relicense", KEYSTORE),
    "fleet": CatalogEntry(
        "Other machines: identities, keys that are sent and received.",
        section=FLEET,
        default="sync",
        children={
            "init": CatalogEntry("Give this keystore its name in the fleet.", "fleet.fleet_init"),
            "card": CatalogEntry("Write this keystore's card, for the other side to pin.", "fleet.fleet_card"),
            "add": CatalogEntry("Pin another keystore's card.", "fleet.fleet_add"),
            "list": CatalogEntry("List the pinned nodes and issuers.", "fleet.fleet_list"),
            "show": CatalogEntry(
                "Show one pinned node or issuer, and the keys that were sent to it.", "fleet.fleet_show"
            ),
            "remove": CatalogEntry("Let a node go: nothing is sent to it any more.", "fleet.fleet_remove"),
            "status": CatalogEntry("Show how far keys, lists and promotions have come.", "fleet.fleet_status"),
            "send": CatalogEntry("Send keys to nodes, each sealed to that node's machine.", "fleet.fleet_send"),
            "receive": CatalogEntry(
                "Take in the keys, revocation lists and promotions that the pinned issuers sent, and acknowledge them.",
                "fleet.fleet_receive",
            ),
            "sync": CatalogEntry(
                "Read acknowledgements, promote, renew revocation lists, send what is queued.", "fleet.fleet_sync"
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
        "The configuration in force.",
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
        "Old names of fleet commands.",
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
