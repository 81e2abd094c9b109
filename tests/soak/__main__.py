"""`python -m tests.soak`, which is `make soak`: runs a soak and says whether all is as it was."""

import argparse
import asyncio
import json
import logging
import random
import sys
from pathlib import Path

from rich.console import Console

from gateway.process import raise_file_limit
from tests.soak.plan import SHORT, plan
from tests.soak.report import show, to_json
from tests.soak.run import soak


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="make soak MINUTES=... ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all rounds together")
    parser.add_argument("--short", action="store_true", help="tiny: shows that the soak works")
    parser.add_argument("--seed", type=int, help="of what happens by chance; else a new one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    if not Path("/proc/net/tcp").exists():
        sys.exit("The soak counts sockets in /proc/net/tcp: run it on Linux.")
    raise_file_limit()
    # The clients of this process log it too when they lose a master, as they do here.
    logging.getLogger("gateway").setLevel(logging.ERROR)
    said = Console(stderr=True, highlight=False)
    said.print(f"seed {seed}")
    found = asyncio.run(soak(SHORT if asked.short else plan(asked.minutes), seed, said.print))
    show(found, Console(highlight=False))
    if asked.json:
        asked.json.write_text(json.dumps(to_json(found), indent=1))
    sys.exit(not found.passed)


if __name__ == "__main__":
    main()
