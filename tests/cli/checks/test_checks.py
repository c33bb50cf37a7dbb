"""What doctor finds: each check sees its trouble."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.program import Program
from tests.waiting import wait_until
from tiktrue_keys.cli.checks.check import CheckState
from tiktrue_keys.cli.checks.machine import is_encrypted, machine_checks, swap_checks
from tiktrue_keys.cli.checks.storage import host_secret_checks, leftover_checks


def checks(program: Program, *words: str, code: int = 0) -> dict[str, tuple[str, str]]:
    found = program.json("doctor", *words, code=code)["result"]["checks"]
    return {check["check"]: (check["state"], check["detail"]) for check in found}


def test_a_keystore_in_order_has_no_failed_check(program: Program) -> None:
    program.generate("m")

    states = {state for state, _ in checks(program).values()}

    assert "failed" not in states
    assert "ok" in states


def test_wider_permissions_fail(program: Program) -> None:
    program.generate("m")
    (program.keystore / "keystore.db").chmod(0o640)

    assert checks(program, code=13)["keystore permissions"][0] == "failed"


def test_a_host_secret_that_others_can_read_fails(program: Program) -> None:
    program.generate("m")
    (program.folder / "host" / "secret").chmod(0o604)

    assert checks(program, code=13)["keystore opens"][0] == "failed"


def test_a_wrong_machine_leaves_the_other_checks(program: Program) -> None:
    program.generate("m")
    (program.folder / "host" / "secret").unlink()

    found = checks(program, code=8)

    assert found["keystore opens"][0] == "failed"
    assert found["keystore contents"][0] == "skipped"
    assert found["versions"][0] == "ok"


def test_a_container_that_is_gone_is_warned_about(program: Program) -> None:
    program.generate("m")
    (program.folder / "model").write_bytes(b"weights")
    program.ok("encrypt-model", "model", "--key", "m")
    program.ok("backup", "copy.db")
    (program.folder / "model.ttm").unlink()

    state, detail = checks(program)["containers"]

    assert state == "warning"
    assert str(program.folder / "model.ttm") in detail


def test_a_container_under_a_revoked_key_lags(program: Program) -> None:
    program.generate("m")
    (program.folder / "model").write_bytes(b"weights")
    program.ok("encrypt-model", "model", "--key", "m")
    program.ok("revoke", "--model", "m", "--reason", "test", "--yes")

    program.ok("backup", "copy.db")

    assert checks(program, code=7)["needs reencryption"][0] == "failed"


@pytest.mark.parametrize("place", ["keystore/keystore.reserve", "host/*.reserve"])
def test_a_reserve_that_is_gone_is_warned_about_until_the_next_operation(program: Program, place: str) -> None:
    program.generate("m")
    assert checks(program)["reserve"][0] == "ok"
    (reserve,) = program.folder.glob(place)
    reserve.unlink()

    state, detail = checks(program)["reserve"]

    assert state == "warning"
    assert str(reserve) in detail
    program.ok("rotate", "m")
    assert checks(program)["reserve"][0] == "ok"


def test_what_a_killed_process_left_is_found_and_settled_by_the_next_command(program: Program) -> None:
    program.generate("m")
    waiting = subprocess.Popen(
        program.argv("encrypt-model", "-", "-o", "out.ttm", "--key", "m"),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=program.folder,
        env=program.environment,
    )
    assert waiting.stdin is not None
    waiting.stdin.write(b"x" * 65_536)
    waiting.stdin.flush()
    wait_until(lambda: list(program.folder.glob(".*.tmp")))
    waiting.send_signal(signal.SIGKILL)
    waiting.communicate()

    assert checks(program, code=7)["open intent"][0] == "warning"  # the new container's key is in no backup
    done = program.run("generate", "other")
    assert "warning: " in done.stderr
    assert "open intent" not in checks(program)
    assert list(program.folder.glob(".*.tmp")) == []


def test_leftovers_are_temporary_files_of_ours_only(tmp_path: Path) -> None:
    (tmp_path / ".model.ttm.0123abcd.tmp").touch()
    (tmp_path / ".model.tmp").touch()
    (tmp_path / "model.0123abcd.tmp").touch()

    found = list(leftover_checks([tmp_path, tmp_path, tmp_path / "nothing"]))

    assert [finding.state for finding in found] == [CheckState.WARNING]
    assert ".model.ttm.0123abcd.tmp" in found[0].detail


def test_a_host_secret_within_the_keystore_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "secret").write_bytes(bytes(32))
    (tmp_path / "secret").chmod(0o600)

    states = {finding.check: finding.state for finding in host_secret_checks(tmp_path / "secret", tmp_path)}

    assert states["host secret"] is CheckState.FAILED


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ("", CheckState.OK),
        ("/dev/zram0 partition 100 0 100\n", CheckState.OK),
        ("/dev/crypt partition 100 0 -2\n", CheckState.OK),
        ("/dev/clear partition 100 0 -2\n", CheckState.WARNING),
        ("/swapfile file 100 0 -2\n", CheckState.WARNING),
    ],
)
def test_swap_is_fine_when_it_is_encrypted_or_memory(tmp_path: Path, lines: str, state: CheckState) -> None:
    (tmp_path / "swaps").write_text(f"Filename Type Size Used Priority\n{lines}")
    for name, uuid in (("crypt", "CRYPT-LUKS2-0123-swap"), ("clear", "LVM-0123")):
        (tmp_path / "block" / name / "dm").mkdir(parents=True)
        (tmp_path / "block" / name / "dm" / "uuid").write_text(uuid)

    assert [finding.state for finding in swap_checks(tmp_path / "swaps", tmp_path)] == [state]


def test_swap_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    assert [finding.state for finding in swap_checks(tmp_path / "nothing", tmp_path)] == [CheckState.SKIPPED]


def test_a_device_without_device_mapper_is_not_encrypted(tmp_path: Path) -> None:
    assert not is_encrypted("/dev/sda2", tmp_path)


def test_the_machine_checks_say_something_about_each_subject() -> None:
    assert {"memory lock", "core dumps", "swap", "container", "versions"} <= {each.check for each in machine_checks()}


def test_core_dumps_are_off_for_every_command(seeded: Program) -> None:
    code = 'ulimit -c unlimited 2>/dev/null; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", code, "sh", *seeded.argv("doctor", "--json")],
        env=seeded.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert '"check": "core dumps", "state": "ok"' in done.stdout


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="no /proc on this system")
def test_a_process_that_holds_a_license_leaves_no_core(program: Program) -> None:
    waiting = subprocess.Popen(
        program.argv("generate", "m", "--license-file", "-"), stdin=subprocess.PIPE, env=program.environment
    )
    try:
        wait_until(lambda: "pipe" in Path(f"/proc/{waiting.pid}/wchan").read_text())
        limits = Path(f"/proc/{waiting.pid}/limits").read_text()
    finally:
        waiting.kill()
        waiting.communicate()

    assert any(line.split()[:6] == ["Max", "core", "file", "size", "0", "0"] for line in limits.splitlines())
