"""Lines of RFC 4180 (CSV) that a spreadsheet may open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

# A spreadsheet takes a cell that starts with one of these for a formula; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_line(cells: Iterable[str]) -> str:
    """Return one line with its CRLF. A cell that a spreadsheet would take for a formula gets a leading apostrophe."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(
        f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells
    )
    return line.getvalue()
