"""What follows `rotate --due` under cron: containers that it cannot reach, and the backup that it makes useless."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program import LICENSE, Program
from tiktrue_keys.core.instants import DAY, rfc3339
from tiktrue_keys.core.keys.lifecycle import ManagedKey
from tiktrue_keys.models.file.encrypt import encrypt_model


class Cron:
    """A keystore with a model, made so many days ago, and the program as it runs today."""

    def __init__(self, program: Program, *, days: int, **options: Any) -> None:
        self.program = program
        self.models = program.folder / "models"
        self.models.mkdir()
        self.backups = program.folder / "backups"
        self.backups.mkdir()
        self.container = self.models / "w.ttm"
        (program.folder / "w.bin").write_bytes(b"weights")
        then = time.time() - days * DAY
        with program.manager(clock=lambda: then) as manager:
            self.key: ManagedKey = manager.generate("m", license_key=LICENSE, **options).keys[0]
            encrypt_model(manager, program.folder / "w.bin", self.container, key="m", license_key=LICENSE)
            self.early: Path = manager.backup(program.folder / "early.db").path

    def findings(self) -> dict[str, str]:
        """Id and severity of what status finds."""
        found = self.program.run("status", "--json")
        return {each["id"]: each["severity"] for each in _json(found.stdout)["result"]["findings"]}

    def generation(self) -> int:
        with self.program.manager() as manager:
            return manager.find("m").generation

    def audit_size(self) -> int:
        with self.program.manager() as manager:
            return manager.audit_size()


def _json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


class TestTheBackup:
    """Generate, encrypt, back up; `rotate --due` on day 24."""

    def test_a_rotation_makes_it_useless_and_status_says_so(self, program: Program) -> None:
        cron = Cron(program, days=24)
        assert cron.findings()["backup-stale"] == "warning"
        done = program.run("rotate", "--due", "--quiet")
        assert (done.returncode, done.stderr.count("early.db")) == (0, 0)

        status = program.run("status")

        assert status.returncode == 7
        assert "in no backup" in status.stdout
        assert "tiktrue-keys backup FILE" in status.stdout
        assert 'finding="key-not-in-backup",severity="lag"' in program.ok("metrics")

    def test_with_a_folder_for_backups_it_is_replaced(self, program: Program) -> None:
        cron = Cron(program, days=24)
        due = ("rotate", "--due", "--backup-to", "backups", "--json")
        done = _json(program.run(*due).stdout)

        assert (done["exit"], done["changed"], done["result"]["backup"]["path"]) == (0, True, str(one(cron.backups)))
        assert not {"key-not-in-backup", "backup-stale", "no-backup"} & set(cron.findings())
        assert _json(program.run(*due).stdout)["result"]["backup"] is None
        program.ok("restore", str(one(cron.backups)), "--yes")
        program.ok("decrypt-model", str(cron.container), "-o", "out.bin")

    def test_one_that_fails_stops_no_rotation_and_is_tried_again(self, program: Program) -> None:
        cron = Cron(program, days=24)
        cron.backups.rmdir()
        due = ("rotate", "--due", "--backup-to", "backups")
        failed = program.run(*due)

        assert failed.returncode == 7
        assert f"the backup failed: there is no folder {cron.backups}" in failed.stderr
        assert f"mkdir {cron.backups}" in failed.stderr
        assert cron.generation() == 2
        cron.backups.mkdir()
        assert program.run(*due).returncode == 0
        assert "key-not-in-backup" not in cron.findings()

    def test_one_that_is_half_as_old_as_allowed_is_followed_by_another(self, program: Program) -> None:
        cron = Cron(program, days=4)
        program.ok("rotate", "--due", "--backup-to", "backups")

        assert one(cron.backups).is_file()

    @pytest.mark.parametrize("words", [("m", "--backup-to", "backups"), ("--all", "--backup-to", "backups")])
    def test_it_is_for_due_keys(self, program: Program, words: tuple[str, ...]) -> None:
        assert program.run("rotate", *words).returncode == 2


class TestTheRestore:
    """Of a backup that is older than a rotation."""

    def test_it_says_what_is_lost_and_the_way_back(self, program: Program) -> None:
        cron = Cron(program, days=24)
        program.ok("rotate", "--due")
        with program.manager() as manager:
            successor = manager.find("m").key_id
        would = program.json("restore", "early.db", "--dry-run")
        done = program.json("restore", "early.db", "--yes", code=7)
        decrypted = program.run("decrypt-model", str(cron.container), "-o", "out.bin")

        assert would["result"]["lost"]["keys"] == [successor]
        assert would["result"]["lost"]["rotations"] == [{"old": cron.key.key_id, "new": successor}]
        assert [each["path"] for each in would["result"]["lost"]["containers"]] == [str(cron.container)]
        assert {"keys-lost", "containers-lost"} <= {each["code"] for each in would["warnings"]}
        assert [each["path"] for each in done["result"]["locked"]] == [str(cron.container)]
        back = f"tiktrue-keys restore {done['result']['replaced']}"
        assert back in done["error"]["hint"]
        assert back in program.run("status").stdout
        assert cron.findings()["key-missing"] == "lag"
        assert program.json("models", "list")["result"]["containers"][0]["state"] == "locked"
        assert (decrypted.returncode, "tiktrue-keys status" in decrypted.stderr) == (3, True)

        program.ok("restore", done["result"]["replaced"], "--yes")
        program.ok("decrypt-model", str(cron.container), "-o", "out.bin")
        assert "key-missing" not in cron.findings()

    def test_the_question_names_the_loss(self, program: Program) -> None:
        Cron(program, days=24)
        program.ok("rotate", "--due")

        refused = program.run("restore", "early.db")

        assert refused.returncode == 5
        assert "It loses 1 key; 1 container will not open." in refused.stderr

    def test_the_backup_counts_as_one_that_is_kept(self, program: Program) -> None:
        cron = Cron(program, days=1)
        program.generate("later")
        program.ok("restore", "early.db", "--yes")

        assert not {"no-backup", "key-not-in-backup"} & set(cron.findings())


class TestTheContainer:
    """A folder that is away while the key is rotated."""

    def test_it_is_named_and_tried_until_it_is_there(self, program: Program) -> None:
        cron = Cron(program, days=24)
        away = cron.models.rename(program.folder / "away")
        first = program.run("rotate", "--due", "--quiet")
        size = cron.audit_size()
        again = program.run("rotate", "--due", "--quiet")

        until = rfc3339(cron.key.decrypt_until)
        for done in (first, again):
            assert done.returncode == 7
            assert f"{cron.container} was not rewrapped: " in done.stderr
            assert f"it stops opening at {until}" in done.stderr
        assert cron.findings()["container-lagging"] == "lag"
        assert cron.audit_size() == size, "every hourly run would add to the log"

        away.rename(cron.models)
        back = program.run("rotate", "--due")

        assert (back.returncode, back.stdout, "Rewrapped 1 container" in back.stderr) == (0, "", True)
        assert "container-lagging" not in cron.findings()
        assert program.run("rotate", "--due").stderr == ""

    def test_a_rotation_by_name_that_leaves_it_behind_is_partial(self, program: Program) -> None:
        cron = Cron(program, days=1)
        cron.container.unlink()

        done = program.run("rotate", "m", "--quiet")

        assert done.returncode == 7
        assert cron.generation() == 2
        assert f"{cron.container} was not rewrapped" in done.stderr

    def test_one_that_is_offline_on_purpose_is_left_alone(self, program: Program) -> None:
        cron = Cron(program, days=24)
        away = cron.models.rename(program.folder / "away")
        with program.manager() as manager:
            (record,) = manager.containers()
        file_id = record.file_id.hex()
        archived = program.json("models", "archive", file_id)
        done = program.run("rotate", "--due")

        assert archived["result"]["containers"][0]["archived_at"] is not None
        assert (done.returncode, "rewrapped" in done.stderr) == (0, False)
        assert "container-lagging" not in cron.findings()
        assert program.json("models", "archive", file_id)["changed"] is False
        program.ok("models", "archive", file_id, "--undo")
        assert program.run("rotate", "--due").returncode == 7
        program.ok("models", "archive", file_id)
        away.rename(cron.models)
        program.ok("rewrap-model", str(cron.container))
        assert program.json("models", "list")["result"]["containers"][0]["archived_at"] is not None
        assert program.run("models", "archive", "0" * 32).returncode == 3


def one(folder: Path) -> Path:
    """The only backup in a folder."""
    (found,) = folder.glob("keystore-*.db")
    return found
