"""`python -m tests.delivery.mutations`: faults put into the gateway one by one; the model test must
find each.

Each is made in a copy of the checkout, where the test runs. A fault that survives means that the
model test has stopped looking at something.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
TEST = "tests/delivery/test_model.py::test_model"
_PYTEST = ("-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider")
_SECONDS = 150


class Mutation(NamedTuple):
    """One change of the code that a reader would suffer from."""

    name: str
    file: str
    before: str
    """Is in the file exactly once."""
    after: str
    subscription: str = "pattern"
    """Of the gateway that has it."""


MUTATIONS = [
    Mutation(
        "a hole is not noticed",
        "gateway/fanout/log.py",
        "        if batch.before == tip:\n            return batch\n",
        "        if tip is not None and batch.last is not None and batch.last.seq > tip.seq:\n"
        "            return batch\n",
    ),
    Mutation(
        "what was seen of a batch is written again",
        "gateway/fanout/log.py",
        "return batch.after(tip)",
        "return batch",
    ),
    Mutation(
        "a full queue drops events",
        "gateway/fanout/subscriber.py",
        "            self.fall_behind(overran=True)\n",
        "",
    ),
    Mutation(
        "HTTP/1.0 is given chunks",
        "gateway/fanout/streams.py",
        "self.plain.write(data, events)",
        "self.plain.write(chunk, events)",
    ),
    Mutation(
        "a terminal event ends no stream",
        "gateway/fanout/log.py",
        "        self.ending = ending\n        for subscriber in self.streams.live:\n"
        "            subscriber.complete(ending.status if ending is not None else status)\n",
        "        pass\n",
    ),
    Mutation(
        "silent streams are not compared with history",
        "gateway/bus/auditor.py",
        "self._silent.add(execution_id)",
        "pass",
    ),
    Mutation(
        "a gap is not told",
        "gateway/events/history_page.py",
        'return sse_encoder.gap(*missing) if missing else b""',
        'return b""',
    ),
    Mutation(
        "a blocked stream is written to by the loop over all",
        "gateway/fanout/subscriber.py",
        "            self.log.streams.move(self, self.log.streams.blocked)\n",
        "            self.log.streams.blocked[self] = None\n",
    ),
    Mutation(
        "a batch is taken for consecutive that is not",
        "gateway/events/batch.py",
        "together and not _follows(together[-1].id, event.id)",
        "together and (event.id is None) != (together[-1].id is None)",
    ),
    Mutation(
        "the last chunk is left out",
        "gateway/fanout/connection.py",
        "            self.write(_LAST_CHUNK, framed=True)\n",
        "            pass\n",
    ),
    Mutation(
        "what the log has written is not counted when a stream is blocked",
        "gateway/fanout/subscriber.py",
        "            self.leave_group()\n            self.log.streams.move(",
        "            self.group = None\n            self.log.streams.move(",
    ),
    Mutation(
        "another history is taken for one that goes on",
        "gateway/fanout/log.py",
        "page.is_other_history(tip) or (tip is None and self.epochs and page.events)",
        "tip is None and self.epochs and page.events",
    ),
    Mutation(
        "what begins after a flush is shown without another admission",
        "gateway/fanout/log.py",
        "page.is_other_history(tip) or (tip is None and self.epochs and page.events)",
        "page.is_other_history(tip)",
    ),
    Mutation(
        "a page that is ahead of the log moves the tip past those who stand there",
        "gateway/fanout/log.py",
        "            self.repair()\n            return\n        self._session = max(",
        "            self.tip, newer = page.end, ()\n        self._session = max(",
    ),
    Mutation(
        "a page is read again from where it began",
        "gateway/fanout/subscriber.py",
        "        self._move_to(page.end)\n",
        "        self._position = page.events[0].id if page.events else page.end\n",
    ),
    Mutation(
        "what was read before the confirmation is taken for all",
        "gateway/fanout/log.py",
        "        if session < self._subscribed:\n",
        "        if False:\n",
        "execution",
    ),
    Mutation(
        "a channel is given up though somebody has come back",
        "gateway/bus/watched.py",
        "        self._needed.add(channel)\n        self._idle.pop(channel, None)\n",
        "        self._needed.add(channel)\n",
        "execution",
    ),
    Mutation(
        "a channel that was given up counts as heard",
        "gateway/bus/watched.py",
        "                self._confirmed.discard(channel)\n",
        "",
        "execution",
    ),
    Mutation(
        "a new connection takes no channel again",
        "gateway/bus/watched.py",
        "self._joining = list(self._needed)",
        "self._joining = []",
        "execution",
    ),
    Mutation(
        "after a lost connection nothing is compared",
        "gateway/bus/intake.py",
        "        self._auditor.subscribed(execution_id)\n",
        "",
        "execution",
    ),
]


def applied(mutation: Mutation, text: str) -> str:
    """*text* of its file with the fault in it."""
    assert text.count(mutation.before) == 1, f"{mutation.name}: not exactly once in its file"
    return text.replace(mutation.before, mutation.after)


def is_caught(mutation: Mutation, examples: int) -> bool:
    """Whether the model test fails with this fault."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as directory:
        copy = Path(directory) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(ROOT, copy, ignore=ignored)
        file = copy / mutation.file
        file.write_text(applied(mutation, file.read_text()))
        done = subprocess.run(
            [sys.executable, *_PYTEST, f"{TEST}[{mutation.subscription}]"],
            cwd=copy,
            env={**os.environ, "MODEL_EXAMPLES": str(examples)},
            stdout=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
        return done.returncode == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=150, help="of the model test, at most")
    parser.add_argument("--only", help="those with this in their name")
    asked = parser.parse_args()
    survived = []
    for mutation in MUTATIONS:
        if asked.only and asked.only not in mutation.name:
            continue
        caught = is_caught(mutation, asked.examples)
        print(f"{'caught  ' if caught else 'SURVIVED'}  {mutation.name}", flush=True)
        if not caught:
            survived.append(mutation.name)
    sys.exit(f"{len(survived)} survived" if survived else 0)


if __name__ == "__main__":
    main()
