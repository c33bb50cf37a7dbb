"""A proof is verified on another machine, where the verifier key is and no keystore."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.view.test_envelope import check
from tests.program import Program


def test_a_proof_is_verified_without_the_keystore(seeded: Program, tmp_path: Path) -> None:
    key = json.loads(seeded.run("audit", "checkpoint", "--json").stdout)["result"]["verifier_key"]
    elsewhere = Program(tmp_path)
    for words in (["1"], ["1", "--json"]):
        (tmp_path / "proof").write_text(seeded.run("audit", "prove", *words).stdout)
        done = elsewhere.run("audit", "check-proof", "proof", "--key", key)
        log = key.partition("+")[0]
        assert (done.returncode, done.stdout) == (0, f"ok: record 1 is among the 3 of {log}\n"), done.stderr
    check(json.loads(elsewhere.run("audit", "check-proof", "proof", "--json", "--key", key).stdout))
    text = (tmp_path / "proof").read_text()
    (tmp_path / "proof").write_text(text.replace('"number": 1', '"number": 2'))
    assert elsewhere.run("audit", "check-proof", "proof", "--key", key).returncode == 4
    assert not elsewhere.keystore.exists()
