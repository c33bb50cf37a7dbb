"""Every command's name, summary and module, so that `--help` imports none of them. A test holds it against the real
commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One command (`module` in tiktrue_keys.cli.commands), or a family of commands (`children`).

    `default` names the child that the bare family runs.
    """

    summary: str
    module: str = ""
    section: str = ""
    children: Mapping[str, Entry] = field(default_factory=dict)
    default: str = ""


KEYS, MODELS, FLEET, KEYSTORE, OTHER = "Keys", "Models", "Fleet", "Keystore and machine", "Other"

CATALOG: Mapping[str, Entry] = {
    "generate": Entry("Make a key that opens only on this machine.", "generate", KEYS),
    "list": Entry("List keys and their states.", "list_keys", KEYS),
    "show": Entry("Show one key, its chain and the containers that need it.", "show", KEYS),
    "rotate": Entry("Make a successor for keys and rewrap their models.", "rotate", KEYS),
    "revoke": Entry("Withdraw keys at once and for good.", "revoke", KEYS),
    "validate": Entry("Check that keys are whole and open on this machine.", "validate", KEYS),
    "cleanup": Entry("Mark and destroy keys that nothing needs any more.", "cleanup", KEYS),
    "encrypt-model": Entry("Encrypt a model file, folder or standard input.", "encrypt_model", MODELS),
    "decrypt-model": Entry("Decrypt a model container.", "decrypt_model", MODELS),
    "rewrap-model": Entry(
        "Move a container to its model's active key; the body stays as it is.", "rewrap_model", MODELS
    ),
    "reencrypt-model": Entry("Encrypt a container anew, under a new data key.", "reencrypt_model", MODELS),
    "inspect-model": Entry("Show what a container says about itself.", "inspect_model", MODELS),
    "verify-model": Entry("Check a container's bytes and signature.", "verify_model", MODELS),
    "exec-model": Entry("Run a program on decrypted models, which it reads from memory.", "exec_model", MODELS),
    "sign-model": Entry("Sign a container that was encrypted with --recipient.", "sign_model", MODELS),
    "models": Entry(
        "The registry of known containers.",
        section=MODELS,
        default="list",
        children={
            "list": Entry("List the registered containers.", "models_list"),
            "scan": Entry("Find containers in a folder and register them.", "models_scan"),
            "forget": Entry("Take a container out of the registry.", "models_forget"),
        },
    ),
    "node": Entry(
        "Identities: this keystore's own, and those that it pinned.",
        section=FLEET,
        default="list",
        children={
            "init": Entry("Give this keystore its name in the fleet.", "node_init"),
            "export": Entry("Write this keystore's card, for the other side to pin.", "node_export"),
            "add": Entry("Pin another keystore's card.", "node_add"),
            "list": Entry("List the pinned nodes and issuers.", "node_list"),
            "show": Entry("Show one pinned node or issuer, and the keys that were sent to it.", "node_show"),
            "status": Entry("Show how far keys, lists and promotions have come.", "node_status"),
            "remove": Entry("Let a node go: nothing is sent to it any more.", "node_remove"),
            "accept-epoch": Entry(
                "Accept an issuer's new epoch, after its keystore was restored.", "node_accept_epoch"
            ),
        },
    ),
    "distribute": Entry("Send keys to nodes, each sealed to that node's machine.", "distribute", FLEET),
    "receive": Entry(
        "Take in the keys, revocation lists and promotions that the pinned issuers sent, and acknowledge them.",
        "receive",
        FLEET,
    ),
    "fleet": Entry(
        "The fleet as a whole.",
        section=FLEET,
        default="sync",
        children={
            "sync": Entry("Read acknowledgements, promote, renew revocation lists, send what is queued.", "fleet_sync")
        },
    ),
    "audit": Entry(
        "The audit log: show, verify, prove, export.",
        section=KEYSTORE,
        default="show",
        children={
            "show": Entry("Show audit records.", "audit_show"),
            "verify": Entry("Check the whole log against its signed head.", "audit_verify"),
            "checkpoint": Entry("Print the log's signed head.", "audit_checkpoint"),
            "prove": Entry("Prove that a record is in the log.", "audit_prove"),
            "export": Entry("Write the log in another program's format.", "audit_export"),
        },
    ),
    "export-public": Entry("Write the public half of a key, to which others can encrypt.", "export_public", KEYSTORE),
    "metrics": Entry("Print the keystore's state as Prometheus metrics.", "metrics", KEYSTORE),
    "doctor": Entry("Run every read-only check.", "doctor", KEYSTORE),
    "fingerprint": Entry("Show the facts that keys are bound to.", "fingerprint", KEYSTORE),
    "rebind": Entry("Seal the keystore to the machine as it is now.", "rebind", KEYSTORE),
    "relicense": Entry("Move every key of one license to another.", "relicense", KEYSTORE),
    "backup": Entry(
        "Copy the keystore to a file: for restore here, or with an escrow's shares elsewhere.", "backup", KEYSTORE
    ),
    "restore": Entry("Put a backup back in the keystore's place, as a new epoch.", "restore", KEYSTORE),
    "escrow": Entry(
        "Shares that recover the keystore on another machine.",
        section=KEYSTORE,
        default="show",
        children={
            "create": Entry(
                "Make shares that recover the keystore on another machine, together with a backup.", "escrow_create"
            ),
            "verify": Entry("Show that shares open the keystore, and record it.", "escrow_verify"),
            "show": Entry("Show the escrow: how many shares it has, and when they were last verified.", "escrow_show"),
            "recover": Entry(
                "Recover a keystore with an escrow's shares, and bind it to this machine.", "escrow_recover"
            ),
        },
    ),
    "config": Entry(
        "The configuration in force.",
        section=KEYSTORE,
        default="show",
        children={"show": Entry("Show each setting and where it comes from.", "config_show")},
    ),
    "completion": Entry("Print the completion script of a shell.", "completion", OTHER),
}
