"""KeyManager, from a machine without a keystore to destroyed keys: what the system was asked to do, case by case.

Read it from top to bottom. Each case is one thing that an operator or a program relies on; the parts below have tests
of their own in tests/core.
"""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.faked_clock import of_the_clock
from tests.keystores import LICENSE, OTHER_LICENSE, Desk, container, error_of, events
from tests.machines import skip_reason
from tests.waiting import PATIENCE
from tiktrue_keys import KeyManager, KeyRotationEvent, ManagedKey, SecurityError
from tiktrue_keys.core.instants import DAY
from tiktrue_keys.core.keys.lifecycle import Status, Use
from tiktrue_keys.errors import (
    ExpiredError,
    IntegrityError,
    NotFoundError,
    RefusedError,
    RevokedError,
    UsageError,
    WrongLicenseError,
    WrongMachineError,
)


@pytest.fixture
def manager(desk: Desk) -> KeyManager:
    return desk.manager()


@pytest.fixture
def key(manager: KeyManager) -> ManagedKey:
    return manager.generate_hardware_bound_key(license_key=LICENSE, model_id="llama_7b_v1")


def secret_of(manager: KeyManager, key: str, use: Use = Use.DECRYPT) -> bytes:
    with manager.open_key(key, LICENSE, use=use) as opened:
        return bytes(opened.secret.view)


class TestHardwareBinding:
    def test_the_first_key_makes_the_keystore_bound_to_this_machine(self, manager: KeyManager, desk: Desk) -> None:
        assert not manager.exists()
        made = manager.generate("llama_7b_v1", license_key=LICENSE)
        assert made.created_keystore
        assert made.binding is not None
        assert manager.exists()
        (key,) = made.keys
        assert key.key_id.startswith("llama_7b_v1_")
        assert (key.status, key.generation, key.binding) == (Status.ACTIVE, 1, "machine+license")
        assert len(key.fingerprint) == 64
        assert desk.secret.stat().st_size == 32

    def test_validation_says_yes_on_this_machine(self, manager: KeyManager, key: ManagedKey) -> None:
        assert manager.validate_hardware_binding(key.key_id) is True
        assert not manager.validate().drift.drifted

    def test_validation_says_no_where_the_keystore_was_only_copied_to(self, desk: Desk, key: ManagedKey) -> None:
        desk.close()
        desk.secret.write_bytes(os.urandom(32))
        with desk.manager() as elsewhere:
            assert elsewhere.validate_hardware_binding(key.key_id) is False
            for operation in (
                lambda: elsewhere.find(key.key_id),
                lambda: elsewhere.open_key(key.key_id, LICENSE, use=Use.DECRYPT),
                lambda: elsewhere.rotate([key.key_id], license_key=LICENSE),
            ):
                error = error_of(operation)
                assert isinstance(error, WrongMachineError)
                assert isinstance(error, SecurityError)

    def test_validation_of_a_key_that_is_not_there_is_no_answer_but_an_error(self, manager: KeyManager) -> None:
        manager.generate("llama_7b_v1", license_key=LICENSE)
        with pytest.raises(NotFoundError):
            manager.validate_hardware_binding("llama_7b_v1_0123456789abcdef")

    def test_the_license_is_part_of_the_binding(self, manager: KeyManager, key: ManagedKey) -> None:
        assert len(secret_of(manager, key.key_id)) == 32
        assert isinstance(
            error_of(lambda: manager.open_key(key.key_id, OTHER_LICENSE, use=Use.DECRYPT)), WrongLicenseError
        )
        assert isinstance(error_of(lambda: manager.open_key(key.key_id, "", use=Use.DECRYPT)), UsageError)
        assert isinstance(error_of(lambda: manager.open_key(key.key_id, None, use=Use.DECRYPT)), UsageError)


class TestStorage:
    def test_folder_and_files_are_the_owners_alone(self, desk: Desk, key: ManagedKey) -> None:
        assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700
        for path in (*desk.folder.iterdir(), *desk.secret.parent.iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    def test_what_a_key_is_called_and_made_of_is_not_to_be_read_in_the_files(
        self, manager: KeyManager, desk: Desk, key: ManagedKey
    ) -> None:
        secret = secret_of(manager, key.key_id)
        desk.close()
        written = b"".join(path.read_bytes() for path in desk.folder.iterdir())
        for hidden in (secret, key.key_id.encode(), b"llama_7b_v1", LICENSE.encode(), desk.secret.read_bytes()):
            assert hidden not in written

    def test_an_edited_file_is_an_error_and_never_another_answer(self, desk: Desk, key: ManagedKey) -> None:
        assert desk.edit("UPDATE record SET revision = revision + 1 WHERE kind = 1") == 1
        with pytest.raises(IntegrityError):
            desk.manager().find(key.key_id)


class TestRotationAndLifecycle:
    def test_rotation_makes_the_next_generation_and_the_old_key_goes_on_decrypting(
        self, manager: KeyManager, key: ManagedKey
    ) -> None:
        old_secret = secret_of(manager, key.key_id)
        new = asyncio.run(manager.rotate_key(old_key_id=key.key_id, license_key=LICENSE))
        old = manager.find(key.key_id)
        assert (new.generation, new.predecessor, old.successor) == (2, key.key_id, new.key_id)
        assert (old.status, new.status) == (Status.ROTATING, Status.ACTIVE)
        assert secret_of(manager, key.key_id) == old_secret
        assert secret_of(manager, new.key_id, Use.ENCRYPT) != old_secret
        assert isinstance(error_of(lambda: manager.open_key(key.key_id, LICENSE, use=Use.ENCRYPT)), RefusedError)
        assert manager.find("llama_7b_v1") == new

    def test_a_chain_of_rotations_is_walked_from_any_of_its_keys(self, manager: KeyManager, key: ManagedKey) -> None:
        for _ in range(3):
            manager.rotate(["llama_7b_v1"], license_key=LICENSE)
        chain = manager.chain(key.key_id)
        assert [link.generation for link in chain] == [1, 2, 3, 4]
        assert [manager.chain(link) for link in chain] == [chain] * 4

    def test_clients_to_notify_are_remembered_with_the_rotation(self, manager: KeyManager, key: ManagedKey) -> None:
        rotated = manager.rotate([key.key_id], license_key=LICENSE, notify=["client1", "client2"])
        event = manager.rotation_event(key.key_id)
        assert isinstance(event, KeyRotationEvent)
        assert event.new_key_id == manager.find("llama_7b_v1").key_id
        assert sorted(request.client for request in rotated.distributions) == ["client1", "client2"]
        assert [notice.code for notice in rotated.warnings].count("undeliverable") == 2

    def test_a_life_in_time(self, manager: KeyManager, desk: Desk, key: ManagedKey) -> None:
        def status() -> Status:
            return manager.find(key.key_id).status

        desk.clock.forward(days=25)
        assert [one.old.key_id for one in manager.rotate(due=True, license_key=LICENSE).rotations] == [key.key_id]
        assert status() is Status.ROTATING
        desk.clock.forward(days=8)
        assert status() is Status.DEPRECATED
        assert [notice.code for notice in manager.open_key(key.key_id, LICENSE, use=Use.DECRYPT).notices] == [
            "deprecated"
        ]
        desk.clock.forward(days=100)
        assert isinstance(error_of(lambda: manager.open_key(key.key_id, LICENSE, use=Use.DECRYPT)), ExpiredError)
        assert len(secret_of(manager, key.key_id, Use.DECRYPT_DEPRECATED)) == 32
        assert manager.find("llama_7b_v1").status is Status.EXPIRED
        assert isinstance(error_of(lambda: manager.open_key("llama_7b_v1", LICENSE, use=Use.ENCRYPT)), ExpiredError)

    def test_revocation_is_immediate_and_final(self, manager: KeyManager, desk: Desk, key: ManagedKey) -> None:
        assert asyncio.run(manager.revoke_key(key_id=key.key_id, reason="security_breach")) is True
        assert manager.is_revoked(key.key_id)
        for use in (Use.ENCRYPT, Use.DECRYPT, Use.DECRYPT_DEPRECATED):
            error = error_of(lambda use=use: manager.open_key(key.key_id, LICENSE, use=use))  # type: ignore[misc]
            assert isinstance(error, RevokedError)
            assert "security_breach" in error.message
        desk.clock.forward(days=-4000)
        assert manager.is_revoked(key.key_id)
        assert isinstance(error_of(lambda: manager.rotate([key.key_id], license_key=LICENSE)), RevokedError)

    def test_cleanup_marks_waits_and_then_destroys(self, manager: KeyManager, desk: Desk, key: ManagedKey) -> None:
        manager.revoke([key.key_id], reason="lost")
        assert manager.cleanup_expired_keys() == 0
        assert manager.find(key.key_id).destroy_at == desk.clock.now + 30 * DAY
        desk.clock.forward(days=15)
        assert manager.cleanup_expired_keys() == 0
        manager.generate("another", license_key=LICENSE)  # a keystore in use: its clock is to be believed
        desk.clock.forward(days=16)
        assert manager.cleanup_expired_keys() == 1
        assert manager.find(key.key_id).status is Status.DESTROYED
        assert manager.cleanup_expired_keys() == 0

    def test_a_key_that_a_container_needs_is_not_destroyed(
        self, manager: KeyManager, desk: Desk, key: ManagedKey
    ) -> None:
        manager.register(container(key))
        manager.revoke([key.key_id], reason="lost")
        for _ in range(5):
            desk.clock.forward(days=20)
            cleaned = manager.cleanup(after=0)
            assert [kept.key.key_id for kept in cleaned.kept] == [key.key_id]
        assert "/models/llama.ttm" in cleaned.kept[0].reason
        assert len(secret_of(manager, key.key_id, Use.RECOVER_REVOKED)) == 32

    def test_every_change_and_every_refusal_is_in_the_audit_log(self, manager: KeyManager, key: ManagedKey) -> None:
        manager.rotate([key.key_id], license_key=LICENSE)
        error_of(lambda: manager.rotate(["llama_7b_v1"], license_key=OTHER_LICENSE))
        manager.revoke([key.key_id], reason="lost")
        error_of(lambda: manager.open_key(key.key_id, LICENSE, use=Use.DECRYPT))
        assert [event for event, outcome in events(manager) if outcome == "ok"] == [
            "keystore-create",
            "license-enroll",
            "generate",
            "rotate",
            "revoke",
        ]
        assert [event for event in events(manager) if event[1] != "ok"] == [("rotate", "refused"), ("open", "refused")]
        assert manager.audit_verify() == manager.audit_size()


class TestConcurrency:
    def test_threads_share_a_manager_and_lose_nothing(self, manager: KeyManager, key: ManagedKey) -> None:
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                manager.generate(f"model-{number}", license_key=LICENSE)
                manager.rotate([f"model-{number}"], license_key=LICENSE)
            except BaseException as error:  # noqa: BLE001  told by the test
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert [manager.find(f"model-{number}").generation for number in range(8)] == [2] * 8
        assert manager.audit_verify() == 3 + 8 * 2

    def test_a_rotation_does_not_hold_up_the_event_loop(self, desk: Desk) -> None:
        """The rotation asks what time it is; the answer waits until the loop has gone round again."""
        asked, turned, answers = threading.Event(), threading.Event(), list[bool]()

        def clock() -> float:
            asked.set()
            answers.append(turned.wait(PATIENCE))
            return float(desk.clock.now)

        with desk.manager() as manager:
            key = manager.generate_hardware_bound_key(LICENSE, "llama_7b_v1")

        async def turn_during_a_rotation() -> None:
            rotating = asyncio.create_task(desk.manager(clock=clock).rotate_key(key.key_id, LICENSE))
            while not (asked.is_set() or rotating.done()):
                await asyncio.sleep(0.005)
            turned.set()
            assert (await rotating).generation == 2

        asyncio.run(turn_during_a_rotation())
        assert set(answers) == {True}


class TestErrors:
    def test_a_failed_rotation_leaves_everything_as_it_was(self, manager: KeyManager, key: ManagedKey) -> None:
        with pytest.raises(WrongLicenseError):
            manager.rotate([key.key_id], license_key=OTHER_LICENSE)
        assert manager.find(key.key_id) == key
        assert len(secret_of(manager, key.key_id, Use.ENCRYPT)) == 32

    @pytest.mark.parametrize("model_id", ["", "../up", "a b", "m_0123456789abcdef", "x" * 97, "llama\n"])
    def test_a_malformed_model_id_is_refused(self, manager: KeyManager, model_id: str) -> None:
        with pytest.raises(UsageError):
            manager.generate(model_id, license_key=LICENSE)
        assert not manager.exists()

    def test_a_second_key_for_a_model_is_refused(self, manager: KeyManager, key: ManagedKey) -> None:
        error = error_of(lambda: manager.generate("llama_7b_v1", license_key=LICENSE))
        assert isinstance(error, RefusedError)
        assert "rotate" in error.hint
        manager.generate("llama_7b_v1", license_key=LICENSE, new_chain=True)
        assert isinstance(error_of(lambda: manager.find("llama_7b_v1")), UsageError)

    def test_unknown_and_already_rotated_keys_are_told_apart(self, manager: KeyManager, key: ManagedKey) -> None:
        manager.rotate([key.key_id], license_key=LICENSE)
        assert isinstance(error_of(lambda: manager.rotate([key.key_id], license_key=LICENSE)), RefusedError)
        assert isinstance(error_of(lambda: manager.rotate(["llama_13b"], license_key=LICENSE)), NotFoundError)

    def test_no_error_tells_a_secret(self, manager: KeyManager, key: ManagedKey) -> None:
        secret = secret_of(manager, key.key_id)
        for operation in (
            lambda: manager.rotate([key.key_id], license_key="hunter2 hunter2"),
            lambda: manager.open_key(key.key_id, b"hunter2 hunter2", use=Use.DECRYPT),
            lambda: manager.generate("other", license_key="hunter2 hunter2"),
            lambda: manager.generate("other", license_key="hunter2 hunter2" * 9999),
            lambda: manager.generate("other", license_key=LICENSE, material=secret + b"x"),
        ):
            error = error_of(operation)
            assert error is not None
            told = f"{error!r} {error.message} {error.hint} {vars(error)} {error.__cause__!r} {error.__context__!r}"
            assert "hunter2" not in told
            assert repr(secret)[2:-1] not in told


EXAMPLES = """
import asyncio
from tiktrue_keys import KeyManager, SecurityError

# Basic Key Generation
key_manager = KeyManager(storage_dir="keys")
managed_key = key_manager.generate_hardware_bound_key(
    license_key="user_license_key",
    model_id="llama_7b_v1"
)
old_key_id = managed_key.key_id


async def examples():
    # Key Rotation
    new_key = await key_manager.rotate_key(
        old_key_id=managed_key.key_id,
        license_key="user_license_key",
        notify_clients=["client1", "client2"]
    )
    # Emergency Revocation
    success = await key_manager.revoke_key(
        key_id=managed_key.key_id,
        reason="security_breach"
    )
    return new_key, success

new_key, success = asyncio.run(examples())

# Hardware Validation
is_valid = key_manager.validate_hardware_binding(new_key.key_id)
if not is_valid:
    raise SecurityError("Hardware binding validation failed")

print(new_key.generation, success, is_valid, (key_manager.path / 'keystore.db').exists())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the default place of root's host secret is shown elsewhere by a mount")
@pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason()))
def test_the_examples_that_the_system_was_asked_to_run(tmp_path: Path) -> None:
    home = tmp_path / "var-lib"
    home.mkdir()
    mounts = 'mount --bind "$0" /var/lib && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts, home, sys.executable, "-c", EXAMPLES],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), **of_the_clock()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "2 True True True\n"
    assert (home / "tiktrue-keys-host/secret").stat().st_size == 32


@pytest.mark.parametrize("use", ["encrypt", "ENCRYPT", None, 1])
def test_a_use_that_is_none_of_uses_opens_nothing(desk: Desk, use: Any) -> None:
    with desk.manager() as manager:
        manager.generate("llama", no_license=True)
        with pytest.raises(UsageError, match=r"Use\.ENCRYPT"):
            manager.open_key("llama", None, use=use)
