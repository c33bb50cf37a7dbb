from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tiktrue_keys.core.audit.checkpoint import (
    NOTE_LIMIT,
    Checkpoint,
    note_key_id,
    open_note,
    parse_verifier_key,
    signed_note,
    verifier_key,
)
from tiktrue_keys.errors import IntegrityError, InternalError, UsageError

# Published test keys, no secrets: golang.org/x/mod, sumdb/note/note_test.go.
GO_NAME = "PeterNeumann"
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SIGNER_KEY = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_VERIFIER_2 = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"

# What note.Sign of golang.org/x/mod v0.7.0 makes of this body with that key, and with a witness's signature before it.
BODY = "PeterNeumann\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n"
GO_LINE = (
    "— PeterNeumann x08gozdSgLMzAnw63LH1RGViJhUfW60EUGKY7Kmr004fQNOSqfrcd1hIk3BCtdcLWIqvGtX67sL24VN+44uTlxMnbAA=\n"
)
WITNESS = (
    "— witness.example/w1 "
    "NARiQF8dXv5gjWZt5aCZUs5SWLwsjONng2yfD46aN9PT3oDrYPWrrqh0wVE/FQB4MLygH1/qC7sod7M2T9dISTxcLww=\n"
)
GO_NOTE = f"{BODY}\n{GO_LINE}"
ROOT = bytes.fromhex("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")
CHECKPOINT = Checkpoint(GO_NAME, 8, ROOT)

KEY = Ed25519PrivateKey.from_private_bytes(GO_SIGNER_KEY)
PUBLIC = KEY.public_key().public_bytes_raw()


def opened(text: str) -> Checkpoint:
    return open_note(text, origin=GO_NAME, public_key=PUBLIC)


def signed(body: str) -> str:
    """A note over any text, signed rightly."""
    signature = note_key_id(GO_NAME, PUBLIC) + KEY.sign(body.encode())
    return f"{body}\n— {GO_NAME} {b64encode(signature).decode()}\n"


@pytest.mark.parametrize("published", [GO_VERIFIER, GO_VERIFIER_2])
def test_verifier_keys_are_spelt_as_go_spells_them(published: str) -> None:
    name, key_id, encoded = published.split("+", 2)
    public_key = b64decode(encoded)[1:]
    assert note_key_id(name, public_key).hex() == key_id
    assert verifier_key(name, public_key) == published
    assert parse_verifier_key(f"{published}\n") == (name, public_key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        GO_VERIFIER[:-4],
        GO_VERIFIER.replace("c74f20a3", "c74f20a4"),
        GO_VERIFIER.replace("+ARpc", "+AhPc"),
        GO_VERIFIER.replace("PeterNeumann", "Peter Neumann"),
    ],
)
def test_a_malformed_verifier_key_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="verifier key"):
        parse_verifier_key(text)


def test_we_sign_as_go_does() -> None:
    assert verifier_key(GO_NAME, PUBLIC) == GO_VERIFIER
    assert signed_note(CHECKPOINT, public_key=PUBLIC, sign=KEY.sign) == GO_NOTE


def test_we_open_what_go_signed() -> None:
    assert opened(GO_NOTE) == CHECKPOINT


def test_the_example_of_the_specification_has_its_key_id_and_shape() -> None:
    # c2sp.org/tlog-checkpoint; its public key is not published, so that only the refusal of its signer can be seen.
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE"
        "+xeMcTOAYQ8=\n"
    )
    with pytest.raises(IntegrityError, match="not signed by this keystore's audit key"):
        open_note(note, origin="example.com/behind-the-sofa", public_key=PUBLIC)


@pytest.mark.parametrize(
    "lines",
    [WITNESS + GO_LINE, GO_LINE + WITNESS, WITNESS * 16 + GO_LINE + WITNESS * 16, GO_LINE * 2],
    ids=["before", "after", "many", "twice"],
)
def test_lines_of_witnesses_are_let_stand(lines: str) -> None:
    assert opened(f"{BODY}\n{lines}") == CHECKPOINT


def test_a_line_with_our_name_and_another_key_is_a_strangers() -> None:
    other = Ed25519PrivateKey.generate()
    line = signed_note(CHECKPOINT, public_key=other.public_key().public_bytes_raw(), sign=other.sign).split("\n\n")[1]
    assert opened(f"{BODY}\n{line}{GO_LINE}") == CHECKPOINT
    with pytest.raises(IntegrityError, match="not signed by"):
        opened(f"{BODY}\n{line}")


def test_a_line_with_our_key_id_and_another_name_is_a_strangers() -> None:
    renamed = GO_LINE.replace(GO_NAME, "Peter")
    with pytest.raises(IntegrityError, match="not signed by"):
        opened(f"{BODY}\n{renamed}")
    garbage = "— Peter " + b64encode(note_key_id(GO_NAME, PUBLIC) + bytes(64)).decode() + "\n"
    assert opened(f"{BODY}\n{garbage}{GO_LINE}") == CHECKPOINT


def test_one_wrong_signature_of_ours_is_enough_to_refuse() -> None:
    wrong = "— PeterNeumann " + b64encode(note_key_id(GO_NAME, PUBLIC) + bytes(64)).decode() + "\n"
    for lines in (wrong, GO_LINE + wrong, wrong + GO_LINE):
        with pytest.raises(IntegrityError, match="signature is wrong"):
            opened(f"{BODY}\n{lines}")


def test_no_other_note_of_the_same_key_passes() -> None:
    assert opened(signed("PeterNeumann\n0\n" + BODY.split("\n")[2] + "\n")).size == 0
    with pytest.raises(IntegrityError, match="another log"):
        opened(signed(BODY.replace(GO_NAME, "tiktrue-keys/00/1")))
    for edited in (BODY.replace("\n8\n", "\n9\n"), BODY.replace("Xcna", "Xcnb")):
        with pytest.raises(IntegrityError, match="signature is wrong"):
            opened(f"{edited}\n{GO_LINE}")


ENCODED_ROOT = BODY.split("\n")[2]


@pytest.mark.parametrize(
    "body",
    [
        f"{GO_NAME}\n08\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n+8\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n-8\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n8 \n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n٨\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n8.0\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n{2**63}\n{ENCODED_ROOT}\n",
        f"{GO_NAME}\n8\n{ENCODED_ROOT[:-1]}\n",
        f"{GO_NAME}\n8\n{ENCODED_ROOT[:-2]}h=\n",
        f"{GO_NAME}\n8\n {ENCODED_ROOT}\n",
        f"{GO_NAME}\n8\n{b64encode(ROOT[:31]).decode()}\n",
        f"{GO_NAME}\n8\n{b64encode(ROOT + b'!').decode()}\n",
        f"{GO_NAME}\n8\n{ENCODED_ROOT}\nextension\n",
        f"{GO_NAME}\n8\n",
        f"{GO_NAME}\n8\n{ENCODED_ROOT}\n\n{GO_NAME}\n8\n{ENCODED_ROOT}\n",
        f"\n8\n{ENCODED_ROOT}\n",
    ],
)
def test_a_body_in_another_spelling_is_refused_although_it_is_signed(body: str) -> None:
    with pytest.raises(IntegrityError, match=r"three lines|size or root is malformed"):
        opened(signed(body))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        BODY,
        f"{BODY}\n",
        f"\n\n{GO_LINE}",
        f"{BODY}\n{GO_LINE[:-1]}",
        f"{BODY}\n{GO_LINE[:-1]}X",
        f"{BODY}\n{GO_LINE}\n",
        f"{BODY}\n{GO_LINE.removeprefix('— ')}",
        f"{BODY}\n{GO_LINE}Unexpected line.\n",
        f"{BODY}\n{GO_LINE.replace('— ', '- ')}",
        f"{BODY}\n{GO_LINE.replace('PeterNeumann', 'Peter Neumann')}",
        f"{BODY}\n{GO_LINE}{GO_LINE.replace('PeterNeumann', 'Peter+Neumann')}",
        f"{BODY}\n{GO_LINE}{GO_LINE.replace('PeterNeumann', '')}",
        f"{BODY}\n{GO_LINE}— witness.example/w1 AAAAAA==\n",
        f"{BODY}\n{GO_LINE}— witness.example/w1 AAAA*AAA\n",
        f"{BODY}\n{GO_LINE}— witness.example/w1 AAAAAAB=\n",
        f"{BODY}\n{GO_LINE}— witness.example/w1 é\n",
        f"{BODY}\n{GO_LINE}".replace("\n", "\r\n"),
        f"{BODY}\n{GO_LINE}{WITNESS}".replace("witness", "wit\x01ness"),
        f"{BODY}\n{GO_LINE}{WITNESS}".replace("witness", "wit\ud800ness"),
    ],
    ids=range(21),
)
def test_what_is_not_a_signed_note_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match=r"not a signed note|signature line of the checkpoint is malformed"):
        opened(text)


def test_a_note_may_have_64_kib_and_not_a_byte_more() -> None:
    def padded(size: int) -> str:
        unpadded = len(f"{BODY}\n— w AAAAAAA=\n{GO_LINE}".encode())
        return f"{BODY}\n— {'w' * (size - unpadded + 1)} AAAAAAA=\n{GO_LINE}"

    assert len(padded(NOTE_LIMIT).encode()) == NOTE_LIMIT
    assert opened(padded(NOTE_LIMIT)) == CHECKPOINT
    with pytest.raises(IntegrityError, match="not a signed note"):
        opened(padded(NOTE_LIMIT + 1))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x00b"])
def test_we_sign_under_no_name_that_go_would_refuse(name: str) -> None:
    with pytest.raises(InternalError):
        signed_note(Checkpoint(name, 8, ROOT), public_key=PUBLIC, sign=KEY.sign)
    with pytest.raises(InternalError):
        verifier_key(name, PUBLIC)


@pytest.mark.parametrize(
    "checkpoint", [Checkpoint("a", -1, ROOT), Checkpoint("a", 2**63, ROOT), Checkpoint("a", 8, b"")]
)
def test_we_sign_no_impossible_tree(checkpoint: Checkpoint) -> None:
    with pytest.raises(InternalError):
        signed_note(checkpoint, public_key=PUBLIC, sign=KEY.sign)
