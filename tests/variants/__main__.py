"""`python -m tests.variants`, which is `make variants`: prints the table of OPERATIONS.md."""

import asyncio
import logging
import sys

from tests.variants.table import CHECKS, row, servers, version_of


def main() -> None:
    # It says much of the restart.
    logging.getLogger("gateway").setLevel(logging.CRITICAL)
    print(f"| Server | {' | '.join(CHECKS)} |")
    print("|---" * (len(CHECKS) + 1) + "|")
    worked = True
    for program in servers():
        found = asyncio.run(row(program))
        worked &= set(found.values()) == {"works"}
        print(f"| {version_of(program)} | {' | '.join(found.values())} |", flush=True)
    sys.exit(not worked)


main()
