"""`python -m tests.churn`, which is `make churn`: lists under churn, at full size."""

import argparse
import asyncio
import logging
import random
import sys

from gateway.process import raise_file_limit
from tests.churn.run import LONG, SHORT, Churn


def main() -> None:
    parser = argparse.ArgumentParser(prog="make churn ARGS=...", description=__doc__)
    parser.add_argument("--short", action="store_true", help="tiny: shows that the churn works")
    parser.add_argument("--seed", type=int, help="of what happens by chance; else a new one")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    raise_file_limit()
    logging.getLogger("gateway").setLevel(logging.ERROR)
    print(f"seed {seed}")
    faults = asyncio.run(Churn(SHORT if asked.short else LONG, seed, print).run())
    for fault in faults[:20]:
        print(fault)
    sys.exit(f"{len(faults)} faults" if faults else 0)


if __name__ == "__main__":
    main()
