"""What to do next, in the words of the command line: every error line has a hint under it.

An error, a warning and a kept key name their remedy; the command to type for it stands in the table here, so that
nothing below the command line has to know a flag. What it does not handle: hints that commands give themselves.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktrue_keys.core.keys.key_results import Kept
    from tiktrue_keys.core.notices import Notice
    from tiktrue_keys.errors import TikTrueKeysError

_LICENSE = "pass the license with --license-file FILE or TIKTRUE_LICENSE_FILE"

REMEDIES: Mapping[str, str] = {
    # Keys
    "list-keys": "run tiktrue-keys list --all to see every key",
    "generate-key": "start a new chain: tiktrue-keys generate {model}",
    "model-has-key": "replace it with tiktrue-keys rotate {key_id}, or add --new-chain for a second chain",
    "material-is-for-one-key": "omit --count",
    "rotate-model": "give its model an active key: tiktrue-keys rotate {model}",
    "activate-pending": "activate it: tiktrue-keys rotate {model}; or add --new-chain for a second chain",
    "pending-key": "wait for its promotion; if no key of the model is active, run tiktrue-keys rotate {model}",
    "omit-prepublish": "omit --prepublish",
    "new-needs-rotate": "add --rotate",
    "rotate-key": "run tiktrue-keys rotate {key_id}",
    "rotate-successor": "run tiktrue-keys rotate {successor}",
    "promote": "from {promote_at} on, run tiktrue-keys fleet sync,"
    " or tiktrue-keys fleet sync --promote-anyway if nodes have not acknowledged it",
    "promote-or-chain": "from {promote_at} on, run tiktrue-keys fleet sync,"
    " or tiktrue-keys fleet sync --promote-anyway if nodes have not acknowledged it;"
    " or add --new-chain for a second chain",
    "what-to-rotate": "name keys, or add --all or --due",
    "notify-all": "use --notify-all for the whole fleet",
    "min-acks-needs-prepublish": "add --prepublish DURATION, or omit --min-acks",
    "what-to-revoke": "name key ids, or add --model MODEL",
    "give-reason": "add --reason TEXT",
    "rewrap-containers": "move its containers to the active key: tiktrue-keys rewrap-model CONTAINER",
    "decryption-over": "move it to the active key with tiktrue-keys rewrap-model, or add --allow-deprecated this once",
    "recover-revoked": "to save a model, give it a new key: tiktrue-keys reencrypt-model --recover-revoked CONTAINER",
    "reencrypt-containers": "run tiktrue-keys reencrypt-model --from KEY --all --recover-revoked",
    "rotate-or-revoke": "replace it with tiktrue-keys rotate {key_id},"
    " or end its use: tiktrue-keys revoke {key_id} --reason TEXT",
    "wait-or-revoke": "wait for the end of its decryption period, or run tiktrue-keys revoke {key_id} --reason TEXT",
    "cancel-alone": "name each key with --cancel KEY_ID, and omit --confirm and the KEY_ID arguments",
    "scan-with-license": "run tiktrue-keys models scan again with --license-file FILE",
    "confirm-claim": "run tiktrue-keys models scan with the license, or tiktrue-keys cleanup --confirm {key_id}",
    "confirm-exported": "if no file was made with it, run tiktrue-keys cleanup --confirm {key_id}",
    "confirm-held": "if it is not needed there, run tiktrue-keys cleanup --confirm {key_id}",
    "confirm-clock": "check the clock, then run tiktrue-keys doctor --accept-clock",
    "show-binding": "run tiktrue-keys binding show to see which facts can be read",
    "rebind": "run tiktrue-keys rebind to seal the keystore to this machine as it is now",
    "drop-fact": "leave the old one out before the repair: tiktrue-keys rebind --drop {fact}, and rebind after it",
    "end-replacement": "put the new part in and run any command that writes, or run tiktrue-keys rebind to undo it",
    "seal-again": "the next command that writes seals the keystore without it, for example tiktrue-keys rotate --due",
    "read-fact": "for a further fact let this user read {file}: add the line z {file} 0440 root GROUP to"
    " /etc/tmpfiles.d/tiktrue-keys.conf, run systemd-tmpfiles --create, then tiktrue-keys rebind",
    "restore-replaced": "put the keystore that was replaced back: tiktrue-keys restore {replaced}",
    "restore-newer": "restore a backup that was taken after its key was made: tiktrue-keys restore FILE",
    "key-of-another": "{hint}; if an older backup was restored, run tiktrue-keys status for the way back",
    "before-a-repair": "before a part is replaced, run tiktrue-keys rebind --replace FACT=NEW, or --drop FACT",
    "rotate-this-key": "run tiktrue-keys rotate {key}",
    "rotate-older": "run tiktrue-keys rotate --all",
    "reencrypt-older": "after the rotation, run tiktrue-keys reencrypt-model {path}",
    "rotate-due": "run tiktrue-keys rotate --due",
    "recover-this": "run tiktrue-keys reencrypt-model --recover-revoked {path}",
    "rotate-and-rewrap": "if no key is active, run tiktrue-keys rotate {model}; then tiktrue-keys rewrap-model {path}",
    "restore-the-other": "to use that one again, restore its file: tiktrue-keys restore OTHER/keystore.db",
    "rewrap-this": "run tiktrue-keys rewrap-model {path}",
    "take-backup": "run tiktrue-keys backup FILE, on another disk",
    "promote-anyway": "run tiktrue-keys fleet sync, or tiktrue-keys fleet sync --promote-anyway to activate it now",
    "node-conflict": "copy the newest state back there, or restore it as a new epoch",
    "settle": "run any command that writes, for example tiktrue-keys rotate --due",
    "schema-copy": "keep it until you are sure that you need not go back, then remove it",
    "no-room-to-upgrade": "free some space, and run it again; until then only tiktrue-keys revoke works",
    # Licenses
    "needs-license": _LICENSE,
    "needs-license-or-none": f"{_LICENSE}, or use --no-license",
    "license-or-none": "use either --no-license or --new-license",
    "stronger-license": "make a random one: openssl rand -hex 32 > FILE; then tiktrue-keys relicense"
    " --old-license-file OLD --license-file FILE",
    "known-license": "use the license that the keys were created with",
    "unknown-license": "use a license that it knows, or add this one: tiktrue-keys generate MODEL_ID --new-license",
    # Models
    "output-exists": "add --force, or choose another name",
    "protected-output": "choose another path; no option lifts this",
    "keystore-folder": "choose a path outside of {folder}; no option lifts this",
    "not-replaced": "choose another path, or move it away; no option lifts this",
    "name-output": "name the output with -o DST",
    "name-output-folder": "name the output with -o DIR",
    "name-recipient": "add --recipient FILE",
    "name-program": "write it after --",
    "unsigned-container": "sign it with tiktrue-keys sign-model, or add --allow-unsigned",
    "expected-root": "copy it from the output of encrypt-model where the container was made",
    "superseded-here": "release it with tiktrue-keys models release {path}, or add --allow-superseded",
    "superseded": "get the newest release with tiktrue-keys fleet receive, or add --allow-superseded",
    "withdrawn": "run tiktrue-keys models release to see what is released, or add --allow-superseded",
    "name-released": "name containers or folders: tiktrue-keys models release CONTAINER",
    "release-first": "release what is in use: tiktrue-keys models release CONTAINER",
    "list-releases": "run tiktrue-keys models release to see every id",
    "release-new-container": "encrypt the model again; its new container has another id",
    "too-many-released": "release a folder, which counts once, or add --only",
    "container-already": "change its key: tiktrue-keys rewrap-model; its data key: tiktrue-keys reencrypt-model",
    "part-of-folder": "re-encrypt the whole folder: tiktrue-keys reencrypt-model {folder}",
    "reencrypt-container": "give it a new data key: tiktrue-keys reencrypt-model CONTAINER",
    "reencrypt-for-model": "run tiktrue-keys reencrypt-model --to {key}",
    "finish-rewrap": "finish it: tiktrue-keys rewrap-model {path}",
    "recipients-dropped": "encrypt the model for them again: tiktrue-keys encrypt-model --recipient FILE",
    "recipient-ends": "run tiktrue-keys rotate {model}, then tiktrue-keys export-public {model}",
    "export-again": "export it again where the key is: tiktrue-keys export-public KEY",
    "exclude-one": "leave one out with --exclude",
    "exclude-file": "leave it out with --exclude {path}",
    "exclude-link": "put the file itself there, or leave it out with --exclude {path}",
    "decrypt-instead": "write an ordinary file with tiktrue-keys decrypt-model",
    "list-containers": "run tiktrue-keys models list to see every file id",
    "scan-for-container": "find it with tiktrue-keys models scan DIR",
    "moved-container": "find it with tiktrue-keys models scan DIR, or let it go: tiktrue-keys models forget {file_id}",
    # Keystore and machine
    "no-keystore": "create one with tiktrue-keys generate MODEL_ID, or name another with --keystore DIR",
    "check-receiver": "mend it; the next command that writes tries again, for example tiktrue-keys rotate --due",
    "read-log": "read what happened: tiktrue-keys audit show --since 8d",
    "system-log": "look for it in the system log: journalctl -t tiktrue-keys",
    "run-as-owner": "run it as its owner: runuser -u {user} -- tiktrue-keys ...",
    "not-our-folder": "run as the owner, or choose another place with --keystore DIR",
    "operation-id-taken": "choose another --operation-id",
    "wait-longer": "wait, or use a longer --lock-timeout",
    "check-disk": "check the disk, then run tiktrue-keys doctor",
    "damaged-keystore": "see what is damaged with tiktrue-keys doctor; put a backup back: tiktrue-keys restore FILE",
    "mark-gone": "put it back, or write a new one with the license: tiktrue-keys rebind;"
    " without a license: tiktrue-keys rebind --against CHECKPOINT",
    "mark-not-written": "do not repeat the command; the next change writes the mark once {folder} can be written,"
    " or in another folder: --marks DIR",
    "leave-rehearsal": "use the keystore itself: name another folder with --keystore DIR",
    "rehearse-again": "use --keystore {folder}, or rehearse again: tiktrue-keys restore FILE --rehearsal DIR",
    "end-rehearsal": "delete it to end it: rm -r {folder}",
    "name-marks": "name another folder for the marks: --marks DIR",
    "rolled-back": "put the newer keystore back, or the newest backup as a new epoch: tiktrue-keys restore FILE",
    "new-secret-exists": "name a file that does not exist; if an interrupted rekey left this one, remove it",
    "name-new-host-secret": "name a file elsewhere on this machine: tiktrue-keys rekey --new-host-secret FILE",
    "rekey-again": "run tiktrue-keys rekey again, with --compromised after an intrusion",
    "use-new-secret": "name the new one with --host-secret {path}, TIKTRUE_HOST_SECRET_FILE or tiktrue-keys.toml",
    "remove-old-copies": "remove them once tiktrue-keys backup FILE has made a new one",
    "unfinished-backup": "put both into a folder of your own, mode 0700, and name that folder with --keystore",
    "clock-behind": "set the clock right; if it is right, wait, or go back to a backup: tiktrue-keys restore FILE",
    "heartbeat-ahead": "set the clock right; if it is right, confirm it: tiktrue-keys doctor --accept-clock",
    "check-timer": "run tiktrue-keys rotate --due, and check the timer that should: systemctl list-timers",
    "registry-lost": "run tiktrue-keys models scan DIR; cleanup waits for tiktrue-keys doctor --accept-clock",
    "clock-leapt": "set the clock right, or confirm it: tiktrue-keys doctor --accept-clock (restore has it too)",
    "name-host-secret": "name its file with --host-secret FILE or TIKTRUE_HOST_SECRET_FILE",
    "host-secret-gone": "put it back from where it is kept, or name one in another folder with --host-secret FILE",
    "move-to-a-volume": "move the keystore and the host secret with its marks to storage that lasts",
    "machine-changed": "{hint}; run tiktrue-keys binding show to see what is read here",
    "recover-with-escrow": "{hint}; or recover with the escrow's shares: tiktrue-keys escrow recover",
    "begin-recovery": "run tiktrue-keys escrow create, then tiktrue-keys escrow verify, then tiktrue-keys backup FILE",
    "verify-and-back-up": "run tiktrue-keys escrow verify, then tiktrue-keys backup FILE",
    "verify-escrow": "run tiktrue-keys escrow verify",
    "back-up": "run tiktrue-keys backup FILE",
    "create-escrow": "create one with tiktrue-keys escrow create",
    "escrow-exists": "verify it with tiktrue-keys escrow verify, or add --replace to create another",
    "replace-escrow": "create another: tiktrue-keys escrow create --replace",
    "name-backup": "name a backup: tiktrue-keys escrow recover FILE",
    "threshold-of-one": "use --threshold 2, or --shares 1",
    # Devices in the host secret's place
    "enable-way": "give its settings in /etc/tiktrue-keys/tiktrue-keys.toml, under [roots.{way}], or in the"
    " environment; binding add printed them",
    "another-device": "go back to the device that the keystore was bound to, or recover with the escrow's shares:"
    " tiktrue-keys escrow recover",
    "list-bindings": "run tiktrue-keys binding list to see what the keystore is bound to",
    "escrow-before-device": "run tiktrue-keys escrow create, then tiktrue-keys escrow verify; or add --alternative to"
    " keep what opens it now",
    "remove-binding": "remove one: tiktrue-keys binding remove WAY",
    "add-binding": "add another way first: tiktrue-keys binding add",
    "rekey-after-binding": "destroy those copies, or run tiktrue-keys rekey",
    "install-tpm": "install it: pip install 'tiktrue-keys[tpm]' (Debian: apt-get install gcc pkg-config libtss2-dev)",
    "install-hsm": "install it: pip install 'tiktrue-keys[hsm]'",
    "tpm-gone": "check the tcti setting, and that this user may open the device: /dev/tpmrm0 is for the group tss",
    "tpm-locked": "wait for the lockout to end, or clear it with tpm2_dictionarylockout(1)",
    "tpm-owner-password": "clear it with tpm2_changeauth(1), or bind the keystore to something else",
    "name-setting": "give {setting} in /etc/tiktrue-keys/tiktrue-keys.toml, or in the environment",
    "name-secret-file": "name a file with {file} under [roots.{way}], pass the credential tiktrue-{way},"
    " or run it on a terminal",
    "wrong-pin": "check the PIN: a few more wrong ones lock the token",
    "set-pin": "set it with the token's own program, for example pkcs11-tool(1)",
    "unlock-token": "unlock it with the PIN of its security officer, for example with pkcs11-tool(1)",
    "transit-gone": "check the url setting, and the server: bao status",
    "transit-sealed": "unseal it: bao operator unseal",
    "transit-mount": "check the mount setting: bao secrets list",
    "transit-token": "give this machine a new token, in the file that token_file names",
    "transit-policy": "if the machine was not withdrawn, allow it: bao policy read, and tiktrue-keys-operations(7)",
    "transit-ca": "name the file of its certificate authority with the ca setting",
    # Approval
    "needs-approval": "run tiktrue-keys approvals export {approval} -o plan.txt;"
    " approvers sign it with ssh-keygen -Y sign -n tiktrue-keys -f KEY plan.txt;"
    " then tiktrue-keys approvals add plan.txt.sig, and the same command with --approval {approval}",
    "sign-more": "add the signatures of other approvers: tiktrue-keys approvals add plan.txt.sig",
    "sign-plan": "sign the exported plan: ssh-keygen -Y sign -n tiktrue-keys -f KEY plan.txt",
    "touch-key": "use a security key that was not made with no-touch-required, and touch it when it blinks",
    "new-plan": "run the command without --approval to make a new plan",
    "compare-plan": "run tiktrue-keys approvals export {approval} and compare it with the command",
    "policy-unknown": "{hint}; or remove the policy by the escrow's shares:"
    " tiktrue-keys escrow recover FILE --reset-policy",
    "list-approvals": "run tiktrue-keys approvals list",
    "show-policy": "run tiktrue-keys approvals policy to see the approvers",
    "too-few-approvers": "add approvers with --approver NAME=KEY.pub, or require fewer approvals",
    "approver-key": "name the .pub file of a plain key, not of a certificate",
    "install-ssh-keygen": "install OpenSSH's client (Debian: openssh-client)",
    # Fleet
    "list-peers": "run tiktrue-keys fleet list to see the pinned nodes and issuers",
    "pinned-already": "run tiktrue-keys fleet remove {node} first;"
    " to change what an issuer may speak for, add --models",
    "peer-name-taken": "use another name: --name NAME",
    "pin-as-issuer": "if it is to be one here, add --role issuer",
    "write-new-card": "upgrade the program on the other machine, then write a new card there:"
    " tiktrue-keys fleet card -o FILE",
    "name-role": "add --role node if it gets keys from an issuer, --role issuer if it sends keys to nodes",
    "state-scope": "say what it may speak for:"
    " tiktrue-keys fleet add {card} --role issuer --expect {node_id} --models MODEL",
    "omit-models": "omit --models",
    "name-models": "add --models ID or --models 'PREFIX*' (repeatable)",
    "issuers-model": "do it at the issuer; to do it here, say what {issuer} keeps instead:"
    " tiktrue-keys fleet add CARD --role issuer --models MODEL",
    "issuers-key": "do it at the issuer; if that is gone, remove it, then run tiktrue-keys generate {model}",
    "compromised-issuer": "generate a key of each model, then run tiktrue-keys reencrypt-model --recover-revoked"
    " --confirm MODEL CONTAINER for each container",
    "omit-confirm": "omit --confirm",
    "confirm-model": "if the container is yours, add --confirm {model}",
    "omit-role": "omit --role; if it is to send keys, make a keystore for that there: tiktrue-keys fleet init NAME"
    " --role issuer",
    "create-spool": "mount it, or create it: mkdir {folder}",
    "create-folder": "mount it, or create it: mkdir {folder}",
    "pin-node": "pin a node's card: tiktrue-keys fleet add CARD",
    "pin-issuer": "pin the issuer's card: tiktrue-keys fleet add CARD --role issuer",
    "name-key-to-send": "name it: tiktrue-keys fleet send KEY --all",
    "no-recipient": "use --to NODE (repeatable) or --all",
    "node-behind": "run tiktrue-keys fleet sync --via TRANSPORT; a node that is gone: tiktrue-keys fleet remove {node}",
    "sync-fleet": "run tiktrue-keys fleet receive there, then tiktrue-keys fleet sync --via TRANSPORT here",
    "fleet-status": "run tiktrue-keys fleet status to see every node",
    "node-refused": "run tiktrue-keys fleet show {node} for the reasons; once they are mended,"
    " tiktrue-keys fleet sync --resend {node} --via TRANSPORT, or leave it so with --accept-refusals {node}",
    "resend": "run tiktrue-keys fleet sync --resend {node} --via TRANSPORT",
    "send-later": "send it later: tiktrue-keys fleet sync --via TRANSPORT",
    "compromised-keys": "revoke the keys, then run tiktrue-keys reencrypt-model on each container",
    "receive-list": "get a newer list: tiktrue-keys fleet receive --via TRANSPORT",
    "receive-epoch": "look for one: tiktrue-keys fleet receive --via TRANSPORT",
    "reissue-envelope": "on the issuer, run tiktrue-keys fleet sync --via TRANSPORT to re-issue it",
    "accept-epoch": "ask its administrator for the head in tiktrue-keys fleet status there; then: "
    "tiktrue-keys fleet accept-epoch {issuer} --expect HEAD",
    "wrong-epoch-head": "do not accept it; ask its administrator for the head in tiktrue-keys fleet status there",
}
"""Remedy to words; `{name}` is filled in from what the error is about, quoted for a shell, {hint} from its own hint."""

_BY_CODE = {
    "usage": "run the command with --help",
    "not-found": "check the name and the folder",
    "integrity": "do not use it; restore a copy that you trust",
    "refused": "run the command with --help",
    "busy": "try again, or use a longer --lock-timeout",
    "partial": "read the reasons in the list, then run the command again for those",
    "wrong-machine": "run tiktrue-keys binding show to see what is read of this machine",
    "wrong-license": "use the license that the key was created with",
    "revoked": "run tiktrue-keys show {key} to see when and why",
    "expired": "run tiktrue-keys rotate {key} to create a successor",
    "unavailable": "read the system's log, then run the command again; nothing is half done",
    "interrupted": "run the command again; nothing is half done",
    "terminated": "run the command again",
    "hung-up": "run the command again, under nohup or systemd-run if the connection may break",
    "insecure": "see FILES in tiktrue-keys(1) for the required modes",
}


def hint_of(error: TikTrueKeysError) -> str:
    """What to do about an error, else about its kind; empty for a bug that says what to do already."""
    return own_hint(error) or _BY_CODE.get(error.code, "").format(key=error.key_id or "KEY")


def own_hint(error: TikTrueKeysError) -> str:
    """The words of the error's remedy, or its own hint; empty where it has neither."""
    return _words(error.remedy, error.about, error.key_id, error.hint) or error.hint


def message_of(notice: Notice) -> str:
    """A warning with the words of its remedy."""
    return _joined(notice.message, _words(notice.remedy, notice.about, notice.key_id))


def reason_of(kept: Kept) -> str:
    """Why a key is kept, with the words of its remedy."""
    return _joined(kept.reason, _words(kept.remedy, kept.about, kept.key.key_id))


def _words(remedy: str, about: Mapping[str, str], key_id: str | None, hint: str = "") -> str:
    facts = {name: shlex.quote(value) for name, value in (("key_id", key_id or ""), *about.items())}
    return REMEDIES[remedy].format_map(facts | {"hint": hint}) if remedy else ""


def _joined(message: str, words: str) -> str:
    return f"{message}; {words}" if words else message
