"""`metrics`: what Prometheus reads is what the keystore is, in its own format, written whole or not at all."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime

import pytest

from tests.program import Program
from tiktrue_keys.cli.view.prometheus import Metric, Sample, exposition
from tiktrue_keys.core.instants import DAY

_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (-?[0-9]+)')
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\n"])*)"')
_ESCAPES = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], int]]:
    """The format as its specification has it: HELP, then TYPE, then that metric's samples; no metric twice."""
    found: dict[str, dict[tuple[tuple[str, str], ...], int]] = {}
    lines = iter(text.split("\n"))
    assert text.endswith("\n")
    name = ""
    for line in lines:
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in found
            assert next(lines) == f"# TYPE {name} gauge"
            found[name] = {}
        elif line:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == name
            labels = tuple((key, _unescaped(value)) for key, value in _LABEL.findall(match[2] or ""))
            assert labels not in found[name]
            found[name][labels] = int(match[3])
    return found


def generate_ago(program: Program, days: int, model: str) -> None:
    """A key that was made so many days ago, by the library with a clock of its own."""
    with program.manager(clock=lambda: time.time() - days * DAY) as manager:
        manager.generate(model, no_license=True)


def _unescaped(value: str) -> str:
    return re.sub(r'\\[\\n"]', lambda match: _ESCAPES[match[0]], value)


def test_every_number(program: Program) -> None:
    for days, model in ((40, "expired"), (25, "due")):
        generate_ago(program, days, model)
    program.generate("llama")
    program.ok("rotate", "llama")
    program.generate("gone")
    program.ok("revoke", "--model", "gone", "--reason", "r", "--yes")
    (program.folder / "model").write_bytes(b"weights")
    program.ok("encrypt-model", "model", "--key", "llama")
    records = program.json("audit", "--last", "1")["result"]

    found = read(program.ok("metrics"))

    statuses = {labels[0][1]: value for labels, value in found["tiktrue_keys_keys"].items()}
    assert statuses == {
        "pending": 0,
        "active": 2,
        "rotating": 1,
        "deprecated": 0,
        "expired": 1,
        "revoked": 1,
        "destroyed": 0,
    }
    assert found["tiktrue_keys_keys_due"] == {(): 2}
    assert found["tiktrue_keys_containers"] == {(): 1}
    assert found["tiktrue_keys_open_intents"] == {(): 0}
    assert found["tiktrue_keys_audit_records"] == {(): records["size"]}
    newest = datetime.fromisoformat(records["records"][-1]["time"])
    assert found["tiktrue_keys_last_audit_record_timestamp_seconds"] == {(): newest.timestamp()}
    assert found["tiktrue_keys_keystore_bytes"] == {(): (program.keystore / "keystore.db").stat().st_size}
    keystore = dict(next(iter(found["tiktrue_keys_info"])))["keystore"]
    assert keystore == str(program.keystore)


def test_the_soonest_expiry_is_that_of_the_active_keys(program: Program) -> None:
    program.ok("generate", "long", "--no-license", "--lifetime", "20d")
    (key,) = program.json("generate", "short", "--no-license", "--lifetime", "10d")["result"]["keys"]
    metric = {each["name"]: each for each in program.json("metrics")["result"]["metrics"]}
    (soonest,) = metric["tiktrue_keys_next_expiry_timestamp_seconds"]["samples"]

    program.ok("revoke", key["key_id"], "--reason", "r", "--yes")
    later = read(program.ok("metrics"))["tiktrue_keys_next_expiry_timestamp_seconds"][()]

    assert 10 * 86_400 - 60 < later - soonest["value"] < 10 * 86_400 + 60


def test_without_active_keys_there_is_no_soonest_expiry(program: Program) -> None:
    program.generate("m", no_license=True)
    program.ok("revoke", "--model", "m", "--reason", "r", "--yes")

    assert "tiktrue_keys_next_expiry_timestamp_seconds" not in read(program.ok("metrics"))


def test_a_file_that_everybody_can_read_whatever_the_umask(program: Program) -> None:
    program.generate("m", no_license=True)
    (program.folder / "keys.prom").write_text("# HELP tiktrue_keys_info of an earlier run\n")
    before = os.stat(program.folder / "keys.prom").st_ino
    umask = os.umask(0o077)
    try:
        said = program.ok("metrics", "--textfile", "keys.prom")
    finally:
        os.umask(umask)

    found = os.stat(program.folder / "keys.prom")
    assert said == "keys.prom\n"
    assert found.st_mode & 0o777 == 0o644
    assert found.st_ino != before  # renamed over it: no scrape sees half a file
    assert "tiktrue_keys_keys" in read((program.folder / "keys.prom").read_text())
    assert not list(program.folder.glob(".*.tmp"))


def test_a_keystore_that_does_not_open_leaves_the_file_as_it_was(program: Program) -> None:
    program.generate("m", no_license=True)
    program.ok("metrics", "--textfile", "keys.prom")
    before = (program.folder / "keys.prom").read_bytes()
    (program.folder / "host" / "secret").unlink()

    assert program.run("metrics", "--textfile", "keys.prom").returncode == 8
    assert (program.folder / "keys.prom").read_bytes() == before


def test_it_records_nothing(program: Program) -> None:
    program.generate("m", no_license=True)
    before = program.json("audit")["result"]["size"]

    program.ok("metrics")

    assert program.json("audit")["result"]["size"] == before


@pytest.mark.parametrize("value", ["plain", 'a"b', "a\\b", "a\nb", "a\\nb", '\\"', 'é{}=,"', ""])
def test_a_label_value_comes_back_as_it_went_in(value: str) -> None:
    text = exposition([Metric("m", "words", [Sample(7, {"label": value, "other": "x"})])])

    assert read(text) == {"m": {(("label", value), ("other", "x")): 7}}


def test_a_folder_name_that_is_not_utf_8_does_not_break_the_format() -> None:
    text = exposition([Metric("m", "words", [Sample(1, {"label": os.fsdecode(b"k\xff")})])])

    assert text.encode() == b'# HELP m words\n# TYPE m gauge\nm{label="k\xef\xbf\xbd"} 1\n'


def test_help_is_one_line() -> None:
    assert exposition([Metric("m", "a\\b\nc", [Sample(1)])]).startswith("# HELP m a\\\\b\\nc\n")


def test_a_metric_without_samples_is_left_out() -> None:
    assert exposition([Metric("m", "words", [])]) == ""
