"""The role of a keystore: it stands in its card, and an issuer is pinned only by a decision of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.keystores import LICENSE, Desk, error_of, folder_in_memory
from tests.program import Program
from tests.terminal import Terminal
from tiktrue_keys.cli.view.hints import hint_of
from tiktrue_keys.core.manager import KeyManager
from tiktrue_keys.errors import IntegrityError, RefusedError, UsageError
from tiktrue_keys.fleet.cards import SIGNATURE_KIND, Card, parse_card
from tiktrue_keys.fleet.own_identity import init_node, own_card
from tiktrue_keys.fleet.pin import pin, pinned
from tiktrue_keys.fleet.signed import signed_line


def card_of(manager: KeyManager) -> Card:
    return parse_card(own_card(manager)[1])


def signed_by(manager: KeyManager, **changed: object) -> bytes:
    """The card of a keystore with other members, signed by it."""
    with manager.session.read() as (view, _):
        sign = manager.session.signer(view)
    members = {name: value for name, value in (own_card(manager)[0].to_json() | changed).items() if value is not None}
    return signed_line(members, SIGNATURE_KIND, sign) + b"\n"


def test_a_card_of_version_1_is_refused_with_what_to_do(fleet: Fleet) -> None:
    error = error_of(lambda: parse_card(signed_by(fleet.nodes["n1"], type="tiktrue-card/1", role=None)))
    assert isinstance(error, RefusedError)
    assert "fleet card -o FILE" in hint_of(error)


@pytest.mark.parametrize("changed", [{"role": "admin"}, {"role": None}, {"type": "tiktrue-card/3"}])
def test_a_card_names_one_of_two_roles(fleet: Fleet, changed: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        parse_card(signed_by(fleet.nodes["n1"], **changed))


def test_keys_of_its_own_make_an_issuer_and_none_need_the_role(fleet: Fleet) -> None:
    assert card_of(fleet.admin).role == "issuer"
    with folder_in_memory() as folder, Desk(folder) as desk:
        empty = desk.manager()
        refused = error_of(lambda: init_node(empty, "office"))
        assert isinstance(refused, UsageError)
        assert "--role issuer" in hint_of(refused)
        assert not empty.exists()
        empty.generate("llama", license_key=LICENSE)
        assert init_node(empty, "office").role == "issuer"


def test_an_issuer_is_pinned_only_where_it_is_asked_for(fleet: Fleet) -> None:
    issuer, node = card_of(fleet.admin), card_of(fleet.nodes["n1"])
    before = pinned(fleet.nodes["n2"])
    for card, role in ((issuer, None), (node, "issuer")):
        refused = error_of(partial(pin, fleet.nodes["n2"], card, expect=card.node_id, role=role))
        assert isinstance(refused, RefusedError), role
    assert pinned(fleet.nodes["n2"]) == before
    assert pin(fleet.nodes["n2"], node, expect=node.node_id).peer.role == "node"


def test_the_word_issuer_is_typed_and_yes_is_another_word(tmp_path: Path) -> None:
    for name in ("office", "branch", "shed"):
        (tmp_path / name).mkdir(mode=0o700)
    shed = Program(tmp_path / "shed")
    for name in ("office", "branch"):
        issuer = Program(tmp_path / name)
        issuer.ok("fleet", "init", name, "--role", "issuer")
        issuer.ok("fleet", "card", "-o", f"../{name}.card")
    shed.ok("fleet", "init", "shed", "--role", "node")
    for answer, code, listed in (("yes", 5, []), ("issuer", 0, [("office", "issuer")])):
        asked = Terminal(shed, "fleet", "add", "../office.card", "--yes")
        asked.wait_for("type issuer to pin it")
        asked.type(f"{answer}\n")
        assert asked.end() == code
        nodes = shed.json("fleet", "list")["result"]["nodes"]
        assert [(node["name"], node["role"]) for node in nodes] == listed

    asked = Terminal(shed, "fleet", "add", "../branch.card", "--models", "vision/*")
    asked.wait_for("what 'office', which speaks for *, keeps")
    asked.type("issuer llama qwen/*\n")
    assert asked.end() == 0
    nodes = shed.json("fleet", "list")["result"]["nodes"]
    assert {node["name"]: node["models"] for node in nodes} == {"office": ["llama", "qwen/*"], "branch": ["vision/*"]}
