"""No output forgets the gate (core/outputs.py): what is written without it stands here, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiktrue_keys
from tests.project.planted import plant
from tests.project.writers import forgetful, others, ungated

PACKAGE = Path(tiktrue_keys.__file__).parent

# Files of fixed names that the program keeps for itself, and files inside a folder that the gate has let pass.
UNGATED = {
    "core/keystore/cursors.py": "how far sinks and event programs are, in the keystore's folder",
    "core/keystore/high_water.py": "the mark of the keystore",
    "core/keystore/host_secret.py": "the host secret: created, never replaced",
    "core/keystore/leftovers.py": "the note of a creation, in the keystore's folder",
    "core/keystore/renewal.py": "a new host secret, where the gate has let it pass or beside the one in use",
    "core/keystore/reserve.py": "the reserves, beside the keystore and its mark",
    "core/upgrade.py": "the copy of an older keystore, in its folder",
    "models/file/reencrypt.py": "in place of the container that was opened, or in the new folder for all of them",
    "models/folder/manifest_file.py": "the manifest, in the new folder",
    "models/folder/reencrypt.py": "a file in clear, in the new folder",
}
# What core/durable.py cannot create.
OTHERS = {
    "cli/docs/generate.py": "man pages and completions, for developers",
    "cli/program/hygiene.py": "/dev/null in the place of a closed stream",
    "core/audit/record_sinks.py": "a sink that the settings name, after the gate; it is appended to",
    "core/durable.py": "the one place itself",
    "core/keystore/backup.py": "the second name of the keystore that a restore replaces",
    "core/keystore/database.py": "the keystore",
    "core/keystore/lock.py": "the lock of the keystore",
    "core/keystore/permissions.py": "the keystore's folder and the host secret's",
    "fleet/transports/spool_files.py": "rounds and acknowledgements, in a spool that the gate has let pass",
    "models/folder/resume_state.py": "the state of a resumable encryption; state.py asks the gate",
    "models/folder/swap.py": "the new folder, beside a destination that the gate has let pass",
    "models/storage/unsynced.py": "the files of a new folder",
    "recovery/share_files.py": "the folder of the shares, after the gate",
}


def test_each_call_names_its_gate() -> None:
    assert forgetful(PACKAGE) == set()


def test_what_is_written_without_a_gate_is_known_with_its_reason() -> None:
    assert ungated(PACKAGE) == UNGATED.keys()


def test_what_is_created_otherwise_is_known_with_its_reason() -> None:
    assert others(PACKAGE) == OTHERS.keys()


@pytest.mark.parametrize(
    "call", ["NewFile(path, gate=None)", "(replace_bytes if force else create_bytes)(p, d, gate=None)"]
)
def test_a_planted_output_without_a_gate_is_found(tmp_path: Path, call: str) -> None:
    plant(tmp_path, {"a.py": call, "b.py": call.replace("None", "gate"), "c.py": call.replace(", gate=None", "")})

    assert ungated(tmp_path / "tiktrue_keys") == {"a.py"}
    assert forgetful(tmp_path / "tiktrue_keys") == {"c.py"}


@pytest.mark.parametrize(
    "call",
    ["os.open(p, os.O_CREAT | os.O_WRONLY)", "open(p, 'w')", "path.open('xb')", "path.write_text('')", "path.mkdir()"],
)
def test_a_planted_file_is_found(tmp_path: Path, call: str) -> None:
    plant(tmp_path, {"a.py": call, "b.py": "open(path, 'rb')"})

    assert others(tmp_path / "tiktrue_keys") == {"a.py"}
