"""What only the program's own man page says: values, license, output, object storage, environment, files."""

from __future__ import annotations

from collections.abc import Mapping

from tiktrue_keys.cli.context.settings import FILE_NAME

VALUES: Mapping[str, str] = {
    "DURATION": "30s, 5m, 12h, 90d, 2w, or ISO 8601 (P30D).",
    "INSTANT": "A duration that has passed (1h), today, yesterday, a date (2026-11-30), or a date and time"
    " (RFC 3339). Without an offset it is local time, which TZ sets; the command says so where that is not UTC.",
    "KEY": "A key id, a model id for its active key, or the first 8 hex digits of a key id's last part.",
    "KEY_ID": "A key id: MODEL_ID, an underscore and 16 hex digits.",
    "MODEL_ID": "The name of a model: at most 96 letters, digits and . _ / -, beginning with a letter or digit.",
    "NODE": "The name of a pinned node or issuer, or its node id of 32 characters.",
    "TRANSPORT": "spool:DIR, a folder that both sides reach, or etcd://HOST:PORT/PREFIX.",
    "GLOB": "A pattern for a file's name or its path in the folder, where * matches / too; a folder if it ends in /.",
}
LICENSE = (
    "Only commands that create or open licensed keys read the license; their page says so. It is looked for in this"
    " order: --license-file, TIKTRUE_LICENSE_FILE, TIKTRUE_LICENSE_KEY, systemd's credential tiktrue-license, the"
    " setting license_file, a hidden prompt on a terminal. One newline at its end is removed. No option takes the"
    " license itself, because every user can read a command line. A license file that others can write is refused;"
    " one that others can read gives a warning."
)
OUTPUT = (
    "Results go to standard output, messages and progress to standard error. On a terminal there are tables, trees"
    " and progress bars; elsewhere plain aligned text. With --json standard output carries one object:"
    " schema, version, command, ok, exit, changed, operation_id, keystore, result,"
    " error (code, message, hint, key_id),"
    " warnings (code, message, key_id). Where standard output carries data, the object goes to standard error."
    " Members may be added; none changes its meaning or is removed."
)
STORAGE = (
    (
        "A model or container file may be the URL of an object, such as s3://BUCKET/NAME.ttm, if fsspec has a"
        " package for it: pip install 'tiktrue-keys[remote]' s3fs. encrypt-model, decrypt-model, inspect-model,"
        " verify-model, rewrap-model, sign-model, exec-model and models scan take one; reencrypt-model does not."
        " encrypt-model writes a folder below a URL, decrypt-model reads it from a URL that ends with a slash."
        " Credentials, address and timeouts come from the storage's own environment or configuration, for S3 from"
        " AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on. A URL with a password or a query is refused. If the storage"
        " cannot be reached, the exit code is 12."
    ),
    (
        "Models are streamed in parts of 5 MiB or more and are never on a local disk; an object appears complete or not"
        " at all. rewrap-model and sign-model write a small object NAME.ttmh beside the container, which readers"
        " follow: copy and remove both together. On S3 the reader also needs the right to list the"
        " bucket, because otherwise a missing NAME.ttmh looks like a forbidden one. Give the bucket a lifecycle rule"
        " that ends incomplete uploads."
    ),
)
CONFIGURATION = (
    "A dot stands for a table. An unknown setting is refused. An option wins over the environment, the environment over"
    " files."
)
ENVIRONMENT: Mapping[str, str] = {
    "TIKTRUE_KEYS_HOME": "Folder of the keystore, unless --keystore is given.",
    "TIKTRUE_HOST_SECRET_FILE": "File of the host secret, unless --host-secret is given.",
    "TIKTRUE_MARKS_DIR": "Folder of the high-water marks, unless --marks is given.",
    "TIKTRUE_LICENSE_FILE": "File with the license (- for standard input), unless --license-file is given.",
    "TIKTRUE_EPHEMERAL": "1 creates keystores without asking where they vanish with a container, as --ephemeral does.",
    "TIKTRUE_LICENSE_KEY": "The license itself, unless a file is named. Processes of the same user can read it.",
    "CREDENTIALS_DIRECTORY": "Set by systemd: folder of the credentials tiktrue-license and tiktrue-host-secret.",
    "STATE_DIRECTORY": "Set by systemd: the service's keystore is /var/lib/tiktrue-keys even if it is not root.",
    "XDG_CONFIG_HOME": "Folder of the user's configuration (default: ~/.config).",
    "XDG_DATA_HOME": "Folder of a user's keystore (default: ~/.local/share).",
    "NO_COLOR": "If not empty: no colour.",
}
FILES: Mapping[str, str] = {
    "/var/lib/tiktrue-keys/keystore.db": "The keystore of root and of services: 0600 in a 0700 folder.",
    "~/.local/share/tiktrue-keys/keystore.db": "The keystore of any other user.",
    "/var/lib/tiktrue-keys-host/secret": "The host secret of root and services: never back it up with the keystore.",
    "~/.local/state/tiktrue-keys-host/secret": "The host secret of any other user.",
    "HOST_SECRET_FOLDER/KEYSTORE_ID.mark": "High-water mark of a keystore: see tiktrue-keys-format(5).",
    "HOST_SECRET_FOLDER/KEYSTORE_ID.secret": "A host secret of one keystore alone, tried before the named one.",
    f"/etc/tiktrue-keys/{FILE_NAME}": "Settings for every user.",
    f"~/.config/tiktrue-keys/{FILE_NAME}": "The user's settings; they win over those in /etc.",
    f"KEYSTORE/{FILE_NAME}": "The keystore's settings; they win over both.",
    "KEYSTORE/keystore.cursors": "How far audit records went out to sinks and event programs; it may be removed.",
    "/usr/bin/ssh-keygen": "Verifies the signatures of approvals; part of OpenSSH's client.",
}
