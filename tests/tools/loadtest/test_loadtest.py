"""Whole runs against gateways that are wrong in one thing: the load test names it."""

import asyncio
import datetime
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.asyncio import Redis

from gateway.contract.keys import meta_key
from gateway.errors import RedisUnavailable
from gateway.tools.loadtest.findings import Findings
from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.run import LoadTest

TOKEN = "a-token-that-nobody-may-see"
IDLE_TIMEOUT = 0.9
AWAY = "the stream did not come back"
"""Within that time: `retry:` asks for a second."""


def plan() -> Plan:
    """Two tabs on each of two executions, whose ids no other test has."""
    return Plan(tabs=4, executions=2, events=5, rate=500, idle_timeout=IDLE_TIMEOUT)


FaultyGateway = Callable[..., AbstractAsyncContextManager[str]]
Run = Callable[[str], Awaitable[Findings]]


def target(url: str, redis_url: str, *, insecure: bool = False) -> Target:
    return Target(
        url=url, publish_url=redis_url, organization="acme", token=TOKEN, insecure=insecure
    )


@pytest.fixture
def run(redis_url: str, faulty_gateway: FaultyGateway) -> Run:
    """`run(fault)`: the findings about a gateway with this fault."""

    async def against(fault: str) -> Findings:
        async with faulty_gateway(fault) as url:
            return await LoadTest(target(url, redis_url), plan()).run()

    return against


@pytest.mark.parametrize(
    ("fault", "counts"),
    [
        ("lost", {"lost": 1, "received": 19}),
        ("twice", {"duplicated": 1}),
        ("late", {"out_of_order": 1}),
        ("foreign", {"foreign": 1}),
    ],
)
async def test_one_wrong_event_is_found(run: Run, fault: str, counts: dict[str, int]) -> None:
    """One event lost, doubled, late or misdirected in one tab of four is counted, and not ok."""
    expected = {"received": 20, "lost": 0, "duplicated": 0, "out_of_order": 0, "foreign": 0}
    findings = await run(fault)
    assert not findings.ok
    assert {name: getattr(findings, name) for name in expected} == expected | counts
    assert (findings.opened, findings.ended, findings.unheard) == (4, 4, 0)


@pytest.mark.parametrize(
    ("fault", "opened", "lost", "words"),
    [
        ("cut", 4, 3, f"{AWAY}: the connection was cut before the end of the stream"),
        ("ended", 4, 3, f"{AWAY}: the stream ended before its terminal event"),
        ("silent", 4, 3, "the stream was still open when the load test gave up"),
        ("closing", 4, 3, f"{AWAY}: the gateway closed the stream early: drain"),
        ("refused", 3, 5, "HTTP 403: Nobody may."),
        ("no stream", 3, 5, "the answer is text/html, not an event stream"),
        ("mute", 3, 5, f"the stream did not open within {IDLE_TIMEOUT} s"),
        ("stranger", 3, 5, "the gateway opened the stream of another execution"),
    ],
)
async def test_one_stream_that_fails_is_found(
    run: Run, fault: str, opened: int, lost: int, words: str
) -> None:
    """A tab that did not open, or did not receive the end, is reported with reason and losses."""
    findings = await run(fault)
    assert not findings.ok
    assert (findings.opened, findings.ended, findings.lost) == (opened, 3, lost)
    assert findings.troubles == {words: 1}


async def test_a_right_gateway_is_ok(run: Run) -> None:
    """Streams with ids and heartbeats, under a path, are read and all is well."""
    findings = await run("")
    assert findings.ok
    assert (findings.published, findings.received, findings.troubles) == (10, 20, {})
    assert 0 < findings.latency_ms["p50"] <= findings.latency_ms["p99"]
    assert findings.latency_ms["p99"] <= findings.latency_ms["max"]


async def test_executions_are_registered_for_a_while(
    faulty_gateway: FaultyGateway, redis_url: str
) -> None:
    """Each execution is registered for the organization, and Redis forgets it by itself."""
    own = plan()
    async with faulty_gateway() as url:
        await LoadTest(target(url, redis_url), own).run()
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        for execution_id in own.execution_ids():
            key = meta_key(execution_id)
            assert await redis.hget(key, "organization_id") == "acme"
            assert 0 < await redis.ttl(key) <= own.lifetime


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP/1; is the address right?"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\n<html", "HTTP 502"),
        (b'HTTP/1.1 503 No\r\nContent-Length: 16\r\n\r\n{"message":"No"}', "HTTP 503: No"),
    ],
)
async def test_what_is_no_gateway_is_told(redis_url: str, answer: bytes, words: str) -> None:
    """Whatever listens at the address instead of a gateway, every tab says what it found."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        findings = await LoadTest(target(url, redis_url), plan()).run()
    assert findings.troubles == {words: 4}
    assert (findings.opened, findings.ok) == (0, False)


async def test_nobody_listens(redis_url: str) -> None:
    """With no gateway at the address every tab says so, and nothing is published."""
    findings = await LoadTest(target("http://127.0.0.1:1", redis_url), plan()).run()
    assert (findings.opened, findings.published, findings.ok) == (0, 0, False)
    (words,) = findings.troubles
    assert words.startswith("no connection:")


async def test_no_redis_is_one_sentence() -> None:
    """A Redis that cannot be reached ends the run with an error of ours."""
    nowhere = target("http://127.0.0.1:1", "redis://127.0.0.1:1/0")
    with pytest.raises(RedisUnavailable, match="cannot be reached"):
        await LoadTest(nowhere, plan()).run()


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "server.pem"
    file.write_bytes(pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_tls(faulty_gateway: FaultyGateway, redis_url: str, tmp_path: Path) -> None:
    """An https gateway is refused for a certificate nobody signed, unless that was allowed."""
    async with faulty_gateway("", certificate(tmp_path)) as url:
        refused = await LoadTest(target(url, redis_url), plan()).run()
        allowed = await LoadTest(target(url, redis_url, insecure=True), plan()).run()
    assert refused.opened == 0
    assert "certificate" in next(iter(refused.troubles)).lower()
    assert allowed.ok
