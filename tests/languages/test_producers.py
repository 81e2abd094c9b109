"""The programs of gateway/publisher/README.md that publish by HTTP, run as they are written there.

curl's is run by tests/readme/test_commands.py. `make clients` runs those that are compiled first,
where their compiler is there: a first build takes longer than all that is tested here.
"""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.conftest import StartGateway
from tests.harness.history import ids
from tests.harness.tcp_proxy import TcpProxy
from tests.npm import NODE
from tests.publisher.conftest import publishing_token
from tests.readme.blocks import PUBLISHING, blocks
from tests.support import DEADLINE, require

LANGUAGES = {
    "js": ("publish.mjs", NODE),
    "php": ("publish.php", "php"),
    "java": ("Publish.java", "java"),
    "go": ("publish.go", "go", "run"),
}
"""The file of each program, and what runs it."""

COMPILED = ("java", "go")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_event_whose_answer_was_lost_is_published_once(
    language: str, start_gateway: StartGateway, redis: Redis, tmp_path: Path
) -> None:
    """The program tries again, with the same key, and prints the id of the one event. An answer
    that is final, as without the right to publish, ends it with an error."""
    file, *command = LANGUAGES[language]
    if language in COMPILED:
        if os.environ.get("BUILD_CLIENTS") != "yes" or shutil.which(command[0]) is None:
            pytest.skip(f"`make clients` runs it, where {command[0]} is there")
    else:
        require(command[0])
    [program] = blocks(PUBLISHING, language)
    (tmp_path / file).write_text(program.text)
    [execution_id] = re.findall(r"run-5\d\b(?!-)", program.text)
    gateway = await start_gateway(publish=True)

    async def run(token: str) -> tuple[int | None, str]:
        given = {"PUBLISH_URL": f"http://127.0.0.1:{proxy.port}", "PUBLISH_TOKEN": token}
        process = await asyncio.create_subprocess_exec(
            *command,
            file,
            cwd=tmp_path,
            env={**os.environ, **given},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 6 * DEADLINE)
        return process.returncode, out.decode()

    async with TcpProxy(int(gateway.url.rpartition(":")[2])) as proxy:
        proxy.lose = 1
        status, printed = await run(publishing_token())
        assert (status, proxy.lose) == (0, 0), printed
        [event_id] = await ids(redis, execution_id)
        assert event_id in printed
        status, printed = await run(publishing_token(ttl_seconds=-60))
        assert status
        assert "token_expired" in printed
