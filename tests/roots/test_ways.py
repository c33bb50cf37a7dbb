"""Which ways may be used: those with settings, and a way without them loads no code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.roots.devices import PIN, softhsm
from tests.roots.test_transit import BLOB, SECRET, errors, good
from tests.roots.transit_server import server
from tiktrue_keys.core.derivation import host_secret_id
from tiktrue_keys.core.keystore.device_secrets import KNOWN_WAYS
from tiktrue_keys.errors import UnavailableError, UsageError, WrongMachineError
from tiktrue_keys.roots.ways import WAYS, EnabledRoots

_TRY_ALL = """
import json, sys
from tiktrue_keys.errors import UnavailableError
from tiktrue_keys.roots.ways import EnabledRoots, WAYS
devices, refused = EnabledRoots({}), []
for way in [*WAYS, "../tpm2", "unknown"]:
    try:
        devices.unseal(way, b"blob")
    except UnavailableError:
        refused.append(way)
loaded = [name for name in sys.modules if name.split(".")[0] in ("pkcs11", "tpm2_pytss", "ssl")]
loaded += [name for name in sys.modules if name.split(".")[-1] in (*WAYS, "transit_http", "pkcs11_uri")]
print(json.dumps([refused, loaded]))
"""


def test_a_way_that_is_not_enabled_loads_no_code() -> None:
    done = subprocess.run([sys.executable, "-c", _TRY_ALL], capture_output=True, check=True)
    refused, loaded = json.loads(done.stdout)
    assert refused == [*WAYS, "../tpm2", "unknown"]
    assert loaded == []


def test_a_way_that_is_not_enabled_and_one_that_does_not_exist_have_their_own_words() -> None:
    devices = EnabledRoots({"transit": {"ca": "/ca.pem"}})  # a setting, but not the one that enables it
    with pytest.raises(UnavailableError, match="transit is not enabled on this machine"):
        devices.unseal("transit", BLOB)
    with pytest.raises(UnavailableError, match="no way of sealing named 'fido2'"):
        devices.unseal("fido2", BLOB)
    assert not devices.is_enabled("transit")


def test_the_core_knows_the_names_of_all_ways() -> None:
    assert frozenset(WAYS) == KNOWN_WAYS


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"fido2": {}}, "'fido2' is not a way of sealing"), ({"tpm2": {"pin": "1"}}, "'pin' is not a setting of tpm2")],
)
def test_settings_that_do_not_exist_are_refused(settings: Mapping[str, Mapping[str, str]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        EnabledRoots(settings)


def test_a_missing_pin_or_token_is_a_usage_error_before_anything_is_sent() -> None:
    with server(good) as (url, tokens):
        with pytest.raises(UsageError, match="transit: there is no token_file"):
            EnabledRoots({"transit": {"url": url}}).unseal("transit", BLOB)
        assert tokens == []


def test_a_new_process_proves_that_a_blob_opens() -> None:
    with server(good) as (url, tokens):
        devices = EnabledRoots({"transit": {"url": url}}, lambda way: b"s.token")
        assert devices.prove("transit", devices.seal("transit", memoryview(SECRET))) == host_secret_id(
            memoryview(SECRET)
        )
        assert tokens == ["s.token", "s.token"]


def test_the_error_of_the_new_process_is_ours() -> None:
    with server(errors(400, "encryption key not found")) as (url, _):
        devices = EnabledRoots({"transit": {"url": url}}, lambda way: b"s.token")
        with pytest.raises(WrongMachineError, match="does not open what is in the slot") as caught:
            devices.prove("transit", BLOB)
    assert caught.value.remedy == "another-device"


def test_a_new_process_opens_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = softhsm(tmp_path, monkeypatch, "one")
    settings = {"pkcs11": {"module": module, "token": "pkcs11:token=one"}}
    devices = EnabledRoots(settings, lambda way: PIN.encode())
    assert devices.prove("pkcs11", devices.seal("pkcs11", memoryview(SECRET))) == host_secret_id(memoryview(SECRET))
    assert devices.takes_facts("pkcs11")
    assert not devices.takes_facts("tpm2")
