"""PKCS#11 URIs (RFC 7512): which token they name, and that none names a module or a PIN."""

from __future__ import annotations

import pytest

from tiktrue_keys.errors import UsageError
from tiktrue_keys.roots.pkcs11_uri import parse_token_uri

FACTS = {"token": "my keys", "manufacturer": "Acme;Ltd", "model": "m", "serial": "12ab", "slot-id": "3"}


@pytest.mark.parametrize(
    ("uri", "matches"),
    [
        ("pkcs11:token=my%20keys", True),
        ("pkcs11:serial=12ab;token=my%20keys", True),
        ("pkcs11:manufacturer=Acme%3BLtd", True),
        ("pkcs11:slot-id=3;model=m", True),
        ("pkcs11:token=my%20key", False),
        ("pkcs11:serial=12ab;model=n", False),
    ],
)
def test_every_attribute_has_to_match(uri: str, matches: bool) -> None:
    assert parse_token_uri(uri).matches(FACTS) is matches


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "not a PKCS#11 URI"),
        ("token=x", "not a PKCS#11 URI"),
        ("pkcs11:token=" + "x" * 2000, "not a PKCS#11 URI"),
        ("pkcs11:", "names no token"),
        ("pkcs11:token=a;token=b", "an attribute twice"),
        ("pkcs11:token=a?pin-value=1234", "could name a module or a PIN"),
        ("pkcs11:token=a?module-path=/tmp/x.so", "could name a module or a PIN"),
        ("pkcs11:object=key", "'object' is not an attribute"),
        ("pkcs11:token", "'token' is not an attribute"),
        ("pkcs11:token=", "not written as RFC 7512 asks"),
        ("pkcs11:token=a b", "not written as RFC 7512 asks"),
        ("pkcs11:token=%zz", "not written as RFC 7512 asks"),
        ("pkcs11:token=%ff", "not UTF-8"),
    ],
)
def test_what_names_no_token_is_refused_without_its_value(uri: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_token_uri(uri)
    assert words in caught.value.message
    assert "1234" not in caught.value.message + caught.value.hint
