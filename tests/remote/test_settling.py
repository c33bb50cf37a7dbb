"""Operations on objects that a process has left open: the next command looks at the object, without a long wait."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.keystores import LICENSE, in_a_child
from tests.models.file.test_rewrap import rotated
from tests.models.settle.test_interrupted import died, kill_me
from tests.models.workshop import Workshop, pattern
from tests.program import Program
from tests.remote.conftest import Bucket, storage_environment
from tests.remote.test_objects import sealed
from tests.waiting import PATIENCE, wait_until
from tiktrue_keys.core.containers.intents import FileIntent
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.models.file.decrypt import decrypt_model
from tiktrue_keys.models.file.inspect import inspect_model
from tiktrue_keys.models.file.rewrap import rewrap_model
from tiktrue_keys.models.file.sign import sign_model
from tiktrue_keys.models.registry.containers import HeaderReader, list_containers, scan
from tiktrue_keys.models.settle.interrupted import settle_intents
from tiktrue_keys.models.storage.deadline import within_seconds
from tiktrue_keys.models.storage.location import Url
from tiktrue_keys.models.storage.object_requests import discard_uploads, look_up
from tiktrue_keys.models.storage.upload import Upload

PART = 5 << 20


def test_killed_in_the_middle_of_an_upload(tmp_path: Path, bucket: Bucket) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = Program(home, storage_environment(bucket.relay.url))
    program.generate("llama")
    words = program.argv("encrypt-model", "-", "-o", bucket.url("a.ttm"), "--key", "llama")
    running = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=program.environment)
    assert running.stdin is not None
    running.stdin.write(pattern(2 * PART))
    running.stdin.flush()
    wait_until(bucket.uploads)
    running.kill()
    running.wait()
    running.stdin.close()
    assert len(bucket.uploads()) == 1
    assert [row["state"] for row in program.json("models", "list")["result"]["containers"]] == ["missing"]
    settled = program.json("models", "scan", f"s3://{bucket.name}")
    assert "an interrupted encrypt" in str(settled["warnings"])
    assert bucket.names() == []
    # The moto that the tests run against says 2010 of every upload: too old to be this operation's.
    discard_uploads(Url("s3", f"{bucket.name}/a.tt"), 0)
    assert len(bucket.uploads()) == 1
    discard_uploads(Url("s3", f"{bucket.name}/a.ttm"), 0)
    assert bucket.uploads() == []
    assert program.json("models", "list")["result"]["containers"] == []


def left_open(shop: Workshop, intent: FileIntent) -> None:
    """An intent of a process that is dead."""
    said = in_a_child(lambda: str(shop.desk.manager().begin_file_operation(intent).operation_id).encode())
    assert b"Error" not in said, said


def intent_on(shop: Workshop, operation: str, url: str, before: frozenset[str], after: frozenset[str]) -> FileIntent:
    (record,) = shop.manager.containers()
    return FileIntent(operation, record.file_id, url, before, after, model_id=record.model_id, name=record.name)


def test_completed_before_it_was_recorded(shop: Workshop, bucket: Bucket) -> None:
    url, key = sealed(shop, bucket, 5000), frozenset({shop.key.key_id})
    left_open(shop, intent_on(shop, "encrypt", url, frozenset(), key))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]
    assert [item.state for item in list_containers(shop.manager)] == ["present"]


def test_a_rewrap_came_to_its_end_or_did_not_begin(shop: Workshop, bucket: Bucket) -> None:
    url = sealed(shop, bucket, 5000)
    old, new = (frozenset({key}) for key in rotated(shop))
    left_open(shop, intent_on(shop, "rewrap", url, old, new))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed"]
    assert [record.keys for record in shop.manager.containers()] == [old]
    rewrap_model(shop.manager, url, license_key=LICENSE)
    left_open(shop, intent_on(shop, "rewrap", url, old, new))
    assert [record.keys for record in shop.manager.containers()] == [old | new]
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]
    assert [record.keys for record in shop.manager.containers()] == [new]


def test_a_signature_and_a_plaintext_are_looked_for_too(shop: Workshop, bucket: Bucket) -> None:
    url, key = bucket.put("ci.ttm", shop.unsigned().read_bytes()), frozenset({shop.key.key_id})
    scan(shop.manager, f"s3://{bucket.name}", LICENSE)
    signing = intent_on(shop, "sign", url, key, key)
    left_open(shop, signing)
    left_open(shop, replace(signing, operation="decrypt", temporary=bucket.url("plain")))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed", "failed"]
    sign_model(shop.manager, url, expected_root=inspect_model(url).root, license_key=LICENSE)
    bucket.put("plain", b"the plaintext")
    left_open(shop, signing)
    left_open(shop, replace(signing, operation="decrypt", temporary=bucket.url("plain")))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok", "ok"]


def test_an_object_that_was_there_before_is_not_taken_for_the_output(shop: Workshop, bucket: Bucket) -> None:
    """By the clock of this keystore, which is years behind the storage's, the object is newer than the intent."""
    url, target = sealed(shop, bucket, 5000), bucket.put("plain", b"older")
    assert died(lambda: decrypt_over(shop, url, target, kill_in=Upload, method="commit"))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["failed"]
    assert bucket.get("plain") == b"older"
    assert died(lambda: decrypt_over(shop, url, target, kill_in=KeyManager, method="finish_file_operation"))
    assert bucket.get("plain") == pattern(5000)
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]


def decrypt_over(shop: Workshop, url: str, target: str, *, kill_in: type, method: str) -> None:
    setattr(kill_in, method, lambda *_, **__: kill_me())
    decrypt_model(shop.desk.manager(), url, target, license_key=LICENSE, force=True)


@pytest.mark.parametrize(("later", "outcome"), [(-1, "ok"), (0, "failed"), (1, "failed")])
def test_an_intent_of_an_earlier_version_is_judged_by_whole_seconds(
    shop: Workshop, bucket: Bucket, later: int, outcome: str
) -> None:
    url, target = sealed(shop, bucket, 5000), bucket.put("plain", b"the plaintext")
    found = look_up(Url("s3", f"{bucket.name}/plain"), "the output")
    assert found is not None
    shop.desk.clock.now = int(found["LastModified"].timestamp()) + later
    key = frozenset({shop.key.key_id})
    left_open(shop, replace(intent_on(shop, "decrypt", url, key, key), temporary=target, replaces=True))
    assert [item.outcome for item in settle_intents(shop.manager).operations] == [outcome]


def test_a_storage_out_of_reach_keeps_the_operation_open_and_stops_nobody(shop: Workshop, bucket: Bucket) -> None:
    url, key = sealed(shop, bucket, 5000), frozenset({shop.key.key_id})
    left_open(shop, intent_on(shop, "encrypt", url, frozenset(), key))
    bucket.relay.cut_up_after = 0
    bucket.relay.drop()
    settled = settle_intents(shop.manager)
    assert (settled.changed, [item.outcome for item in settled.operations]) == (False, ["open"])
    assert [notice.message for notice in settled.warnings] == [f"an interrupted encrypt of {url} cannot be settled yet"]
    shop.sealed(10, "another")
    shop.manager.register(replace(shop.manager.containers()[-1], file_id=bytes(16), path=bucket.url("another.ttm")))
    assert [item.state for item in list_containers(shop.manager)] == ["present", "unreadable", "unreadable"]
    before, reader = bucket.relay.refused, HeaderReader()
    assert HeaderReader().wraps_in(shop.manager.containers()[1]) is None
    of_one = bucket.relay.refused - before
    assert [reader.wraps_in(record) for record in shop.manager.containers()][1:] == [None, None]
    assert bucket.relay.refused - before == 2 * of_one > 0  # two objects of one storage are asked for once
    shop.manager.forget(bytes(16))
    bucket.relay.cut_up_after = None
    assert [item.outcome for item in settle_intents(shop.manager).operations] == ["ok"]


def test_a_storage_that_is_silent_is_not_waited_for() -> None:
    answer = threading.Event()
    with pytest.raises(UnavailableError, match="does not answer"):
        within_seconds(0.05, lambda: answer.wait(PATIENCE))
    answer.set()
