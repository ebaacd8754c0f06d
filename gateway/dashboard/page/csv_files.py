"""Tables as CSV files that no spreadsheet takes for programs."""

import csv
import io
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

# A text that begins so is run as a formula by Excel, LibreOffice and Google Sheets
# (the full-width signs in some languages: https://owasp.org/www-community/attacks/CSV_Injection).
_STARTS_OF_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


def written(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return the file's text: RFC 4180, absent values empty, texts that look like formulas behind a '."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([harmless(name) for name in header])
    writer.writerows([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return file.getvalue()


def harmless(text: str) -> str:
    """Return a text that a spreadsheet shows as it is."""
    # Leading blanks are dropped by some importers before they look for a formula.
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_STARTS_OF_FORMULAS) else text
