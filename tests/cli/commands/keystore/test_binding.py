"""`binding add`, `list` and `test` with a real TPM and a real token of software, and a PIN that shows up nowhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.program import Program
from tests.roots.devices import shim, softhsm, tpm
from tests.roots.transit_server import engine, server
from tiktrue_keys.core.keystore.document import parse_document


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A keystore with a key and a verified escrow. What a test binds it to, it unbinds by putting the files back."""
    program = Program(tmp_path_factory.mktemp("bound"))
    program.generate("llama")
    shares = program.json("escrow", "create", "-o", "shares", "--shares", "1", "--threshold", "1")["result"]["files"]
    program.ok("escrow", "verify", "--share", shares[0])
    return program


@pytest.fixture
def program(keystore: Program) -> Iterator[Program]:
    variables, files = dict(keystore.variables), [keystore.keystore / "keystore.db", *keystore.folder.glob("host/*")]
    kept = {path: path.read_bytes() for path in files}
    yield keystore
    keystore.variables = variables
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)


def rename_slots(program: Program, way: str) -> None:
    """What a program can do that can write the keystore's file, and nothing else."""
    with closing(sqlite3.connect(program.keystore / "keystore.db")) as connection:
        ((header,),) = connection.execute("SELECT document FROM header").fetchall()
        document = parse_document(header)
        blob = b"\x01" + bytes(76) if way == "pkcs11" else None
        slots = tuple(
            slot if slot.type == "escrow" else replace(slot, type=way, blob=blob or slot.blob)
            for slot in document.slots
        )
        connection.execute("UPDATE header SET document = ?", (replace(document, slots=slots).encode(),))
        connection.commit()


def test_a_tpm_in_the_host_secrets_place(program: Program, tmp_path: Path) -> None:
    with tpm(tmp_path) as device:
        program.variables["TIKTRUE_TPM2_TCTI"] = device.tcti
        done = program.run("binding", "add", "tpm2", "--set", "pcrs=7")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "# /etc/tiktrue-keys/tiktrue-keys.toml",
            "[roots.tpm2]",
            f'tcti = "{device.tcti}"',
            'pcrs = "7"',
        ]
        assert "copies of the keystore from before still open with the host secret" in done.stderr
        assert "roots.tpm2.pcrs were given for this command alone" in done.stderr
        device.cut()
        device.start()
        status = program.json("status")["result"]
        assert not {each["id"] for each in status["findings"]} & {"weak-binding", "no-spare", "drift"}
        assert status["binding"]["weak"] is False
        names = [row["check"] for row in program.json("doctor")["result"]["checks"]]
        assert ("binding tpm2" in names, "host secret" in names) == (True, False)
    gone = program.json("list", code=12)["error"]
    assert gone["message"] == "tpm2: the TPM does not answer (tcti:IO failure)"
    del program.variables["TIKTRUE_TPM2_TCTI"]
    assert program.json("list", code=12)["error"]["message"] == "tpm2 is not enabled on this machine"


def test_a_pin_shows_up_nowhere(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = "73519246"
    module = softhsm(tmp_path, monkeypatch, "one", pin=pin)
    (tmp_path / "pin").write_text(f"{pin}\n")
    (tmp_path / "pin").chmod(0o600)
    program.variables |= {
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
        "TIKTRUE_PKCS11_MODULE": module,
        "TIKTRUE_PKCS11_TOKEN": "pkcs11:token=one",
        "TIKTRUE_PKCS11_PIN_FILE": str(tmp_path / "pin"),
    }
    said = [program.run("binding", "add", "pkcs11", "-v"), program.run("binding", "list"), program.run("audit")]
    assert [done.returncode for done in said] == [0, 0, 0], said
    (tmp_path / "pin").write_text(f"{pin}0\n")
    said.append(program.run("list", "-v"))
    assert said[-1].returncode == 5
    assert "pkcs11: the token does not take the PIN" in said[-1].stderr
    del program.variables["TIKTRUE_PKCS11_PIN_FILE"]
    said.append(program.run("list"))
    assert said[-1].returncode == 2
    assert "hint: name a file with pin_file under [roots.pkcs11], pass the credential tiktrue-pkcs11" in said[-1].stderr
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "tiktrue-pkcs11").write_text(pin)
    program.variables["CREDENTIALS_DIRECTORY"] = str(credentials)
    said.append(program.run("list"))
    assert said[-1].returncode == 0
    assert "can be read by others" in said[-1].stderr
    texts = [done.stdout + done.stderr for done in said]
    assert not any(pin in text for text in texts)
    assert pin.encode() not in (program.keystore / "keystore.db").read_bytes()


def test_an_edited_slot_loads_no_module_and_sends_nothing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, module = tmp_path / "trace", shim(tmp_path)
    with server(engine) as (url, tokens):
        (tmp_path / "token").write_text("s.token")
        (tmp_path / "token").chmod(0o600)
        transit = {"TIKTRUE_TRANSIT_URL": url, "TIKTRUE_TRANSIT_TOKEN_FILE": str(tmp_path / "token")}
        program.variables |= {"SHIM_TRACE": str(trace), **transit}
        program.ok("binding", "add", "transit")
        asked = len(tokens)
        rename_slots(program, "pkcs11")
        settings = f'[roots.pkcs11]\nmodule = "{module}"\ntoken = "pkcs11:token=one"\n'
        (program.keystore / "tiktrue-keys.toml").write_text(settings)
        assert program.run("list").returncode == 2
        (program.keystore / "tiktrue-keys.toml").unlink()
        assert program.json("list", code=12)["error"]["message"] == "pkcs11 is not enabled on this machine"
        rename_slots(program, "fido2")
        message = program.json("list", code=4)["error"]["message"]
        assert message == "the keystore has a slot of the unknown type 'fido2'"
        assert (len(tokens), trace.exists()) == (asked, False)
        pytest.importorskip("pkcs11", reason="whether the module would leave its trace: python-pkcs11 is not installed")
        program.variables["TIKTRUE_PKCS11_MODULE"] = module  # enabled, it leaves its trace: the test would notice
        program.variables["TIKTRUE_PKCS11_TOKEN"] = "pkcs11:token=one"
        rename_slots(program, "pkcs11")
        program.run("list")
        assert trace.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fido2",), "'fido2' is not a way to bind a keystore"),
        (("tpm2", "--set", "pin=1234"), "'pin' is not a setting of tpm2"),
        (("tpm2", "--set", "tcti"), "'tcti' is not a setting of tpm2"),
        (("pkcs11", "--set", "module="), "'module' must be a path"),
    ],
)
def test_a_way_or_a_setting_that_does_not_exist_is_a_usage_error(
    program: Program, words: tuple[str, ...], message: str
) -> None:
    error = program.json("binding", "add", *words, code=2)["error"]
    assert error["message"] == message
    assert "1234" not in str(error)


def test_a_way_that_is_not_in_the_keystore_is_not_found(program: Program) -> None:
    error = program.json("binding", "test", "tpm2", code=3)["error"]
    assert error["message"] == "the keystore is not bound to tpm2"
