"""All rows of the table of prices, and how SECURITY.md shows them.

`python -m tests.prices.table` prints the lines that SECURITY.md must have.
"""

from collections import defaultdict

from tests.prices import (
    connections,
    histories,
    identities,
    lists,
    messages,
    publishing,
    readers,
    requests,
    sets,
    values,
)
from tests.prices.row import MIB, Row

_KINDS = (
    requests.ROWS,
    connections.ROWS,
    histories.ROWS,
    lists.ROWS,
    readers.ROWS,
    sets.ROWS,
    identities.ROWS,
    messages.ROWS,
    values.ROWS,
    publishing.ROWS,
)
ROWS = [row for rows in _KINDS for row in rows]

OF_EACH_KIND = [rows[0] for rows in _KINDS]
"""What `make test` tries, beside other tests; `make prices` has the machine for itself."""

HEAD = [
    "| What a stranger sends | CPU of each | Stays | At most | Bound by | Guarded by |",
    "|---|---|---|---|---|---|",
]
_TEST = "`tests/prices/test_prices.py::test_price`"


def _cells(row: Row) -> tuple[str, ...]:
    """What rows of one line have in common."""
    bound_by = "; ".join(f"`{one}`" for one in row.bound_by.split(", "))
    return (
        f"{row.cpu * 1000:g} ms",
        f"{row.keeps / MIB:.0f} MiB",
        f"{row.peak / MIB:.0f} MiB",
        bound_by,
        _TEST,
    )


def lines() -> list[str]:
    """The lines of the table: rows with the same bounds stand together."""
    together: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in ROWS:
        together[_cells(row)].append(row.name)
    found = [" | ".join(["; ".join(names), *cells]) for cells, names in together.items()]
    return [*HEAD, *(f"| {line} |" for line in found)]


if __name__ == "__main__":
    print("\n".join(lines()))
