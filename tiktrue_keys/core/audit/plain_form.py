"""The form that nearly every audit record has, as one regular expression over its bytes.

Come here for why a million records verify in seconds: of a record in this form nothing is too long, unprintable or out
of range, so that AuditRecord.encode would write exactly these bytes, and writing them again shows nothing. Every other
record is compared with what encode writes.
"""

from __future__ import annotations

import re
from typing import Any

UNPRINTABLE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Controls, line separators, direction overrides and lone surrogates, which could forge a terminal line or break UTF-8.

The inside of a class of characters in a regular expression.
"""

_TEXT = f'"[^"\\\\{UNPRINTABLE}]{{0,256}}"'
_NAME = r'"[ !#-\[\]-~]{1,128}"'
_NAME_OR_NULL = f"(?:null|{_NAME})"
_COUNT = "(?:0|[1-9][0-9]{0,14})"
_TIME = "(?:0|[1-9][0-9]{0,10})"
_VALUE = f"(?:null|true|false|{_TEXT}|-?[1-9][0-9]{{0,14}}|0)"
_PAIR = f'"[a-z][a-z0-9_]{{0,31}}":{_VALUE}'
_UID = "(?:null|0|[1-9][0-9]{0,14})"
_ACTORS = {
    1: f'"command":{_TEXT},"host":{_TEXT},"user":{_TEXT}',
    2: f'"claimed_sudo_user":(?:null|{_TEXT}),"command":{_TEXT},"host":{_TEXT}'
    f',"login_uid":{_UID},"uid":{_UID},"user":{_TEXT}',
}
_REST = (
    f',"after":{_NAME_OR_NULL},"before":{_NAME_OR_NULL}'
    f',"detail":{{(?:{_PAIR}(?:,{_PAIR}){{0,63}})?}}'
    f',"epoch":{_COUNT},"event":"[a-z0-9][a-z0-9.-]{{0,63}}"'
    f',"key_id":{_NAME_OR_NULL},"model_id":{_NAME_OR_NULL},"number":{_COUNT}'
    f',"operation_id":{_NAME},"outcome":"(?:ok|refused|failed)","time":{_TIME},"v":'
)
_PLAIN = {version: re.compile(f'{{"actor":{{{actor}}}{_REST}{version}}}') for version, actor in _ACTORS.items()}
_OTHER_NAMES = {1: 16, 2: 19}
"""How many names there are of members outside of `detail`."""


def is_written_so(data: bytes, members: dict[str, Any]) -> bool:
    """Return whether `data`, whose object `members` is, has the plain form: nothing escaped, nothing nested in detail.

    False says nothing against a record.
    """
    text = data.decode()
    version = 1 if text.endswith('"v":1}') else 2
    if _PLAIN[version].fullmatch(text) is None:
        return False
    detail = list(members["detail"])
    # A text holds no quotation mark, so each '":' ends a name: more of them than names means a repeated one.
    return detail == sorted(detail) and text.count('":') == len(detail) + _OTHER_NAMES[version]
