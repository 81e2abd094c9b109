"""The previous release, taken from the repository's own history, to run beside the present one.

The file `previous-release` names the commit. Tags are not used: a clone may have none.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import orjson

from gateway.contract.scripts import HistoryLimits
from gateway.publisher import PublishFailed

_HERE = Path(__file__).parent
COMMIT = (_HERE / "previous-release").read_text().strip()


def extract(directory: Path) -> Path:
    """Write the package `gateway` of the previous release into *directory*."""
    archive = subprocess.run(
        ["git", "archive", COMMIT, "gateway"],
        cwd=_HERE.parents[2],
        check=True,
        capture_output=True,
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tree:
        tree.extractall(directory, filter="data")
    return directory


class PreviousPublisher:
    """`Publisher` of the previous release, in a process of its own."""

    def __init__(self, tree: Path, redis_url: str, limits: HistoryLimits) -> None:
        """*limits* must be the defaults: the other process knows no others."""
        assert limits == HistoryLimits()
        self._tree = tree
        self._redis_url = redis_url
        self._process: asyncio.subprocess.Process | None = None

    async def publish(
        self,
        execution_id: str,
        event_type: str,
        data: object,
        *,
        timestamp: str,
        idempotency_key: str | None = None,
    ) -> str:
        """As `Publisher.publish`.

        Raises:
            PublishFailed: with the key of the call.
        """
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        call = [execution_id, event_type, data, timestamp, idempotency_key]
        process.stdin.write(orjson.dumps(call) + b"\n")
        answer = orjson.loads(await process.stdout.readline())
        if "id" not in answer:
            raise PublishFailed(answer["message"], answer["key"])
        return str(answer["id"])

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            # Reads to the end, and so closes the pipes before the event loop.
            await self._process.communicate()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(_HERE / "publisher_program.py"),
                self._redis_url,
                env={**os.environ, "PYTHONPATH": str(self._tree)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        return self._process
