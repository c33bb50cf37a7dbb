"""Bounds how long a storage may take to answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tiktrue_keys.errors import UnavailableError

_Result = TypeVar("_Result")

PATIENCE = 10.0
"""Seconds for all requests to a storage about one operation."""


def within_seconds(seconds: float, work: Callable[[], _Result]) -> _Result:
    """Run `work` in a thread; return its result or raise its error.

    Raises UnavailableError after `seconds`; the thread then keeps running in the background.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise UnavailableError("the storage does not answer", "try again when it can be reached")
    return results[0]
