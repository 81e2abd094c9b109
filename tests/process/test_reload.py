"""SIGHUP: the keys are read again, and no stream is touched."""

import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.access.tokens import issue
from tests.conftest import credentials
from tests.harness.gateway_process import serving
from tests.harness.sse import SseReader
from tests.support import eventually


def pem(*keys: EllipticCurvePrivateKey) -> bytes:
    return b"".join(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        for key in keys
    )


def signed(key: EllipticCurvePrivateKey) -> dict[str, str]:
    claims = {"sub": "u", "organization_id": "acme", "exp": time.time() + 600}
    token = jwt.encode(claims, key, algorithm="ES256")
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}


async def test_sighup_changes_the_keys(redis_url: str, tmp_path: Path) -> None:
    """After SIGHUP a new key is good and the removed one is not, also for a token that was verified
    before; an open stream goes on. A broken file is complained of, and the old keys stay."""
    old, new = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    file = tmp_path / "issuer.pem"
    file.write_bytes(pem(old))
    async with (
        serving(
            REDIS_URL=redis_url,
            GATEWAY_OWNERSHIP="token",
            GATEWAY_JWT_SECRET="",
            GATEWAY_JWT_PUBLIC_KEY_FILE=str(file),
            GATEWAY_JWT_ALGORITHMS="ES256",
            GATEWAY_HEARTBEAT_SECONDS="0.5",
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"

        async def status(key: EllipticCurvePrivateKey) -> int:
            async with session.get(url, headers=signed(key)) as response:
                return response.status

        async with session.get(url, headers=signed(old)) as stream:
            reader = SseReader(stream)
            await reader.expect("connected")
            assert await status(new) == 401

            file.write_text("-----BEGIN NONSENSE-----")
            process.signal(signal.SIGHUP)
            await process.says("Not reloaded")
            assert await status(old) == 200

            file.write_bytes(pem(new))
            process.signal(signal.SIGHUP)

            async def is_changed() -> bool:
                return await status(new) == 200

            await eventually(is_changed)
            assert await status(old) == 401

            heartbeat = await reader.next()
            assert heartbeat is not None
            assert heartbeat.event == "heartbeat"


class Rotation:
    """Keys of one kind: where the gateway reads them, and what signs."""

    def __init__(self, kind: str, file: Path) -> None:
        self.kind = kind
        self.file = file
        self.pairs = [generate_private_key(SECP256R1()) for _ in range(2)]
        self.secrets = [f"{number}-" + "x" * 40 for number in range(2)]

    @property
    def settings(self) -> dict[str, str]:
        if self.kind == "secrets":
            return {"GATEWAY_JWT_SECRET_FILE": str(self.file)}
        return {"GATEWAY_JWT_PUBLIC_KEY_FILE": str(self.file), "GATEWAY_JWT_ALGORITHMS": "ES256"}

    def write(self, *numbers: int) -> None:
        if self.kind == "secrets":
            self.file.write_text("\n".join(self.secrets[number] for number in numbers))
        else:
            self.file.write_bytes(pem(*[self.pairs[number] for number in numbers]))

    def headers(self, number: int) -> dict[str, str]:
        if self.kind == "secrets":
            token = issue(self.secrets[number], organization_id="acme")
            return {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
        return signed(self.pairs[number])


@pytest.mark.parametrize("kind", ["secrets", "PEM file"])
async def test_a_rotation_refuses_nobody(redis_url: str, tmp_path: Path, kind: str) -> None:
    """Old and new keys overlap: none of 24 open tabs is closed, and no tab that opens, with a token
    of the old key or of the new one, is refused. Once the old key is gone, its tokens are."""
    rotation = Rotation(kind, tmp_path / "keys")
    rotation.write(0)
    async with (
        serving(
            REDIS_URL=redis_url,
            GATEWAY_OWNERSHIP="token",
            GATEWAY_JWT_SECRET="",
            **rotation.settings,
        ) as process,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        AsyncExitStack() as tabs,
    ):
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        statuses: Counter[int] = Counter()

        async def opened(number: int) -> SseReader:
            response = await tabs.enter_async_context(
                session.get(url, headers=rotation.headers(number))
            )
            statuses[response.status] += 1
            return SseReader(response)

        async def reloaded(*numbers: int, opening: tuple[int, ...]) -> None:
            """With these keys, while tabs open."""
            rotation.write(*numbers)
            said = "".join(process.lines).count("Reloaded")
            process.signal(signal.SIGHUP)
            while "".join(process.lines).count("Reloaded") == said:
                for number in opening:
                    await opened(number)

        readers = [await opened(0) for _ in range(24)]
        await reloaded(1, 0, opening=(0,))
        await opened(1)
        await reloaded(1, opening=(1,))
        assert statuses.keys() == {200}
        async with session.get(url, headers=rotation.headers(0)) as response:
            assert response.status == 401
        for reader in readers:
            await reader.expect("connected")
            assert not reader.response.content.at_eof()


def toml(**settings: str | int) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in settings.items())


async def test_sighup_changes_limits_and_logging(redis_url: str, tmp_path: Path) -> None:
    """After SIGHUP the limits, the log's level and its form are those of the file: who is over a
    limit that was lowered stays, and opens no more. What takes a restart is named, and a file
    with a mistake changes nothing."""
    file = tmp_path / "gateway.toml"
    file.write_text(toml(max_streams_per_subject=2, log_level="info"))
    async with (
        serving(
            REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", GATEWAY_CONFIG=str(file)
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"

        async def opened(stack: AsyncExitStack) -> int:
            response = await stack.enter_async_context(session.get(url, headers=credentials()))
            return response.status

        async with AsyncExitStack() as streams:
            assert [await opened(streams) for _ in range(3)] == [200, 200, 429]

            file.write_text(toml(max_streams_per_subject=-1))
            process.signal(signal.SIGHUP)
            await process.says("GATEWAY_MAX_STREAMS_PER_SUBJECT: Input should be greater")
            assert await opened(streams) == 429

            file.write_text(toml(max_streams_per_subject=3, heartbeat_seconds=1))
            process.signal(signal.SIGHUP)
            await process.says("only after a restart: GATEWAY_HEARTBEAT_SECONDS.")
            assert [await opened(streams) for _ in range(2)] == [200, 429]

            file.write_text(toml(max_connections=3, log_format="json"))
            process.signal(signal.SIGHUP)
            await process.says('"message":"Reloaded:')
            assert await opened(streams) == 429

            file.write_text(toml(log_format="json", max_streams_per_organization=1))
            process.signal(signal.SIGHUP)
            await process.says('"message":"Reloaded:')
            # Those that were opened before it are not counted.
            assert [await opened(streams) for _ in range(2)] == [200, 429]
        assert "limits" in "".join(process.lines)
