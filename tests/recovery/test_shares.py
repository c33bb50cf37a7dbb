"""Shares: any threshold of them give the secret, fewer none; nothing but our own shares is taken."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import shamir_mnemonic

from tests.keystores import error_of
from tiktrue_keys.core.outputs import KEYSTORES_ONLY
from tiktrue_keys.core.secret import SecretBuffer
from tiktrue_keys.errors import IntegrityError, NotFoundError, RefusedError, TikTrueKeysError, UsageError
from tiktrue_keys.recovery.share_files import LIMIT, parse_shares, read_share_file, share_text, write_shares
from tiktrue_keys.recovery.shares import WORDS, Share, combine, parse_share, split

SECRET = bytes(range(32))
KEYSTORE_ID = bytes(range(16))


def shares_of(count: int, threshold: int, secret: bytes = SECRET) -> tuple[Share, ...]:
    with SecretBuffer.copy_of(secret) as buffer:
        return split(buffer.view, count=count, threshold=threshold)


def secret_of(shares: list[Share]) -> bytes:
    with combine(shares) as secret:
        return bytes(secret.view)


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (2, 2), (5, 3), (16, 16), (16, 2)])
def test_any_threshold_of_them(count: int, threshold: int) -> None:
    shares = shares_of(count, threshold)
    assert [share.number for share in shares] == list(range(1, count + 1))
    for chosen in itertools.islice(itertools.permutations(shares, threshold), 40):
        assert secret_of(list(chosen)) == SECRET
    assert secret_of(list(shares)) == SECRET


def test_fewer_are_refused() -> None:
    shares = shares_of(5, 3)
    for few in ([], shares[:1], shares[1:3], [shares[0]] * 3):
        assert isinstance(error_of(lambda few=few: combine(list(few))), UsageError)  # type: ignore[misc]


@pytest.mark.parametrize(("count", "threshold"), [(0, 0), (5, 0), (3, 4), (17, 3), (5, 1), (-1, -1)])
def test_impossible_numbers(count: int, threshold: int) -> None:
    assert isinstance(error_of(lambda: shares_of(count, threshold)), UsageError)


def test_every_share_that_is_given_takes_part() -> None:
    """One more than needed, and that one of other numbers: as good as any three look, it is found."""
    first, other = shares_of(5, 3), shares_of(5, 3)
    forged = replace(parse_share(other[4].words), escrow=first[0].escrow)
    assert isinstance(error_of(lambda: combine([*first[:3], forged])), IntegrityError)


def test_shares_of_two_escrows() -> None:
    first, other = shares_of(3, 2), shares_of(3, 2)
    found = error_of(lambda: combine([first[0], other[1]]))
    assert isinstance(found, UsageError)
    assert str(first[0].escrow) in found.hint


def test_shares_of_two_sets_with_one_identifier() -> None:
    first, other = shares_of(3, 2), [replace(share, escrow=1) for share in shares_of(3, 2)]
    assert isinstance(error_of(lambda: combine([replace(first[0], escrow=1), other[1]])), IntegrityError)
    assert isinstance(error_of(lambda: combine([replace(first[0], escrow=1), other[0], other[1]])), IntegrityError)


def test_two_shares_that_are_each_the_whole_secret() -> None:
    """escrow create makes no such pair; somebody else may."""
    (first,) = shares_of(1, 1)
    second = shamir_mnemonic.Share(first.escrow, True, 0, 0, 1, 1, 1, 1, bytes(32)).mnemonic()
    assert isinstance(error_of(lambda: combine([first, parse_share(second)])), IntegrityError)


def test_one_wrong_letter_or_two_words_the_wrong_way_round() -> None:
    (share,) = shares_of(1, 1)
    words = share.words.split()
    for at in range(WORDS):
        changed = [*words[:at], "academic" if words[at] != "academic" else "acid", *words[at + 1 :]]
        assert isinstance(error_of(lambda changed=changed: parse_share(" ".join(changed))), UsageError)  # type: ignore[misc]
    for at in range(WORDS - 1):
        swapped = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
        if swapped != words:
            assert isinstance(error_of(lambda swapped=swapped: parse_share(" ".join(swapped))), UsageError)  # type: ignore[misc]


def test_an_error_quotes_no_word() -> None:
    (share,) = shares_of(1, 1)
    words = share.words.split()
    for wrong in ([*words[:5], "notaword", *words[6:]], [*words[1:], words[0]]):
        found = error_of(lambda wrong=wrong: parse_share(" ".join(wrong)))  # type: ignore[misc]
        assert found is not None
        assert found.__suppress_context__
        assert not {*wrong} & {*f"{found.message} {found.hint}".split()}
    assert words[10] not in repr(share)


@pytest.mark.parametrize(
    "make",
    [
        lambda: shamir_mnemonic.generate_mnemonics(1, [(1, 1)], SECRET[:16])[0][0],
        lambda: shamir_mnemonic.generate_mnemonics(1, [(1, 1), (1, 1)], SECRET, iteration_exponent=0)[0][0],
        lambda: shamir_mnemonic.generate_mnemonics(1, [(1, 1)], SECRET, iteration_exponent=1)[0][0],
        lambda: shamir_mnemonic.generate_mnemonics(1, [(1, 1)], SECRET, extendable=False, iteration_exponent=0)[0][0],
    ],
    ids=["half as long", "of two groups", "that costs more to open", "not extendable"],
)
def test_other_shares_of_the_standard(make: Callable[[], str]) -> None:
    assert isinstance(error_of(lambda: parse_share(make())), UsageError)


def test_files(tmp_path: Path) -> None:
    shares = shares_of(5, 3)
    written, _ = write_shares(tmp_path / "shares", shares, KEYSTORE_ID, gate=KEYSTORES_ONLY)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "shares", *written)] == [0o700, *[0o600] * 5]
    assert [read_share_file(path) for path in written] == [[share] for share in shares]
    assert KEYSTORE_ID.hex() in written[0].read_text()


def test_files_are_there_all_of_them_or_none(tmp_path: Path) -> None:
    shares = shares_of(3, 2)
    taken = tmp_path / f"escrow-{shares[0].escrow}-share-2-of-3.txt"
    taken.write_text("somebody's")
    assert isinstance(error_of(lambda: write_shares(tmp_path, shares, KEYSTORE_ID, gate=KEYSTORES_ONLY)), RefusedError)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["somebody's"]


def test_taking_them_back_leaves_what_is_somebody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    _, take_back = write_shares(folder, shares_of(3, 2), KEYSTORE_ID, gate=KEYSTORES_ONLY)
    take_back()
    assert not folder.exists()
    _, take_back = write_shares(folder, shares_of(3, 2), KEYSTORE_ID, gate=KEYSTORES_ONLY)
    (folder / "note").touch()
    take_back()
    assert [path.name for path in folder.iterdir()] == ["note"]


def test_a_place_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, kind in ((tmp_path / "no/where", NotFoundError), (tmp_path / "file/in", TikTrueKeysError)):
        with pytest.raises(kind):
            write_shares(folder, shares_of(2, 2), KEYSTORE_ID, gate=KEYSTORES_ONLY)


def test_several_in_one_text_however_broken_into_lines() -> None:
    shares = shares_of(3, 2)
    texts = [share_text(share, 3, KEYSTORE_ID) for share in shares]
    assert parse_shares("".join(texts).encode(), "it") == list(shares)
    noted = "\ufeff# Müllers\n" + texts[0]
    assert parse_shares(noted.encode(), "it") == [shares[0]]
    by_hand = "\r\n".join(word.upper() for share in shares for word in share.words.split())
    assert parse_shares(by_hand.encode(), "it") == list(shares)


@pytest.mark.parametrize(
    "data", [b"", b"# only a comment\n", b"word " * 32, b"word " * 34, b"word " * 33 * 17, b"\xff\xfe", b"\0" * 100]
)
def test_texts_that_hold_none(data: bytes) -> None:
    found = error_of(lambda: parse_shares(data, "the file"))
    assert isinstance(found, UsageError)
    assert "the file" in found.message


def test_a_file_without_end() -> None:
    assert LIMIT < 1 << 20
    assert isinstance(error_of(lambda: read_share_file(Path("/dev/zero"))), RefusedError)
