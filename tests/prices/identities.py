"""Ids, tokens, tickets and organizations that nobody has given out, and too many that somebody
has."""

import base64
import secrets

import jwt
import orjson

from tests.prices.gateways import ATTACKER
from tests.prices.histories import poll, stream
from tests.prices.requests import filled
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage
from tests.support import SECRET

_TOKEN = "MAX_TOKEN_BYTES in gateway/access/tokens.py"


def _encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def tokens(header: bytes, filler: bytes = b"", end: bytes = b"") -> Attack:
    """Streams asked for with a token whose header is made of the three parts; not signed."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        text = header + filler * (size // max(1, len(filler))) + end
        token = f"{_encoded(text)}.{_encoded(b'{}')}.{_encoded(b'signature')}"
        data = stream("run-1", f"Authorization: Bearer {token}\r\nX-Organization-ID: a\r\n")
        await stage.each(times, lambda _: stage.ask(data))

    return attack


async def _signature(stage: Stage, size: int, times: int) -> None:
    head = _encoded(b'{"alg":"HS256"}')
    token = f"{head}.{_encoded(b'{}')}.{filled('A', size)}"
    data = stream("run-1", f"Authorization: Bearer {token}\r\nX-Organization-ID: a\r\n")
    await stage.each(times, lambda _: stage.ask(data))


async def _kids(stage: Stage, size: int, times: int) -> None:
    async def one(_number: int) -> object:
        algorithm = "RS256" if stage.has_issuer else "HS256"
        header = orjson.dumps({"alg": algorithm, "kid": secrets.token_hex(16)})
        token = f"{_encoded(header)}.{_encoded(b'{}')}.{_encoded(b'signature')}"
        headers = f"Authorization: Bearer {token}\r\nX-Organization-ID: a\r\n"
        return await stage.ask(stream("run-1", headers))

    await stage.each(times, one)


async def _ids(stage: Stage, size: int, times: int) -> None:
    """Streams and polls by turns, held for as long as an execution is waited for."""
    headers = stage.headers()

    async def one(number: int) -> object:
        ask = poll if number % 2 else stream
        return await stage.ask(ask(stage.fresh("invented"), headers))

    await stage.each(times, one, times)


async def _malformed_ids(stage: Stage, size: int, times: int) -> None:
    headers = stage.headers()
    ids = ["!canary:1", "{x}", "%00", "..", "*", "a" * 129, "%2e%2e%2f", "a%0d%0ab"]
    await stage.each(times, lambda number: stage.ask(stream(ids[number % 8], headers)), times)


async def _tickets(stage: Stage, size: int, times: int) -> None:
    async def one(_number: int) -> object:
        target = f"/api/v1/sse/executions/run-1/stream?ticket={secrets.token_urlsafe(32)}"
        return await stage.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")

    await stage.each(times, one)


async def _taking_tickets(stage: Stage, size: int, times: int) -> None:
    execution_id = await stage.register(stage.fresh())
    target = f"/api/v1/sse/executions/{execution_id}/ticket"
    data = f"POST {target} HTTP/1.1\r\nHost: x\r\n{stage.headers()}\r\n"
    await stage.each(times, lambda _: stage.ask(data))


async def _organizations(stage: Stage, size: int, times: int) -> None:
    """A genuine token, and an organization that it does not name."""
    authorization = stage.headers().partition("\r\n")[0]

    async def one(_number: int) -> object:
        other = f"X-Organization-ID: {stage.fresh('invented-inc')}"
        return await stage.ask(stream("run-1", f"{authorization}\r\n{other}\r\n"))

    await stage.each(times, one)


async def _organization_of_the_bystander(stage: Stage, size: int, times: int) -> None:
    """A genuine token, and the name of another organization, which must not pay for it."""
    authorization = stage.headers().partition("\r\n")[0]
    other = "X-Organization-ID: bystander-inc"
    data = stream("bystander", f"{authorization}\r\n{other}\r\n")
    await stage.each(times, lambda _: stage.ask(data))


async def _many_organizations(stage: Stage, size: int, times: int) -> None:
    """Genuine tokens, each of its own and with as many organizations as fit."""
    execution_id = await stage.register(stage.fresh())

    async def one(_number: int) -> object:
        names = [ATTACKER, *(secrets.token_hex(4) for _ in range(size // 11))]
        claims = {"organization_id": names, "sub": stage.fresh("user"), "exp": 2**32}
        token = jwt.encode(claims, SECRET)
        headers = f"Authorization: Bearer {token}\r\nX-Organization-ID: {ATTACKER}\r\n"
        return await stage.ask(poll(execution_id, headers))

    await stage.each(times, one)


async def _many_subjects(stage: Stage, size: int, times: int) -> None:
    """Genuine tokens of as many subjects: every one opens a stream and leaves."""
    execution_id = await stage.register(stage.fresh())
    await stage.each(times, lambda _: stage.ask(stream(execution_id, stage.headers())))


async def _one_subject(stage: Stage, size: int, times: int) -> None:
    """Streams of one subject, opened and left as fast as they can be."""
    execution_id = await stage.register(stage.fresh())
    data = stream(execution_id, stage.headers())
    await stage.each(times, lambda _: stage.ask(data))


_BACKEND = "ownership_wait_seconds, backend_timeout_seconds"
_CACHE = "CACHE_BYTES in gateway/access/tokens.py"
_WAIT = "ownership_wait_seconds"
_MANY_VALUES = b",".join(b"[]" for _ in range(900))

ROWS = [
    Row("token of deep JSON", tokens(b"", b"["), _TOKEN, size=2700),
    Row("token of deep objects", tokens(b"", b'{"a":'), _TOKEN, size=2700),
    Row("token of wide JSON", tokens(b'{"alg":[', b"[],", b"1]}"), _TOKEN, size=2700),
    Row("token of a long number", tokens(b'{"alg":', b"9", b"}"), _TOKEN, size=2700),
    Row("token of escapes", tokens(b'{"alg":"', b"\\u0000", b'"}'), _TOKEN, size=2700),
    Row("token with a long signature", _signature, _TOKEN, size=3900),
    Row("tokens with invented kids", _kids, _TOKEN),
    Row("invented kids, keys from the issuer", _kids, "jwks_url", gateway="backend", cpu=0.01),
    Row("invented executions, backend asked", _ids, _BACKEND, cpu=0.02, gateway="backend"),
    Row("invented executions", _ids, _WAIT, cpu=0.01),
    Row("streams of malformed ids", _malformed_ids, "EXECUTION_ID in gateway/events/envelope.py"),
    Row("invented tickets", _tickets, "TICKET_SECONDS in gateway/access/tickets.py"),
    Row("tickets by the hundred", _taking_tickets, "max_tickets_per_second",
        times=100),
    Row("invented organizations", _organizations, "max_streams_per_subject"),
    Row("organization of somebody else", _organization_of_the_bystander, "max_streams_per_subject"),
    Row("tokens of many organizations", _many_organizations,
        _CACHE, size=2200, times=60, cpu=0.01, keeps=8 * MIB),
    Row("streams of many subjects", _many_subjects, "max_streams_per_organization", cpu=0.01),
    Row("streams of one subject", _one_subject, "max_opens_per_second", times=100, cpu=0.01),
]  # fmt: skip
