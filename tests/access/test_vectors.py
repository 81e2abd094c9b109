"""Claims as issuers in the field write them, what they mean, and why others are refused: the answer
says nothing of it, the log and the metrics do."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.access.tokens import TokenVerifier
from gateway.errors import RequestRefused
from tests.access.issuers import payload, raw, signed, verifier
from tests.conftest import StartGateway
from tests.support import SECRET

KEYCLOAK = {"org-a": {"id": "7"}, "org-b": {"id": "8"}}


@dataclass
class Vector:
    """A genuine token's claims, the organization asked for, and what comes of it."""

    claims: dict[str, Any]
    asks: str = "org-a"
    subject: str = ""
    token_id: str = ""
    code: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


ALIASES = {"organization_claim": "organization"}
READ = {
    "integer sub": Vector({"sub": 17, "organization_id": "org-a"}, subject="17"),
    "null sub": Vector({"sub": None, "organization_id": "org-a"}),
    "integer jti": Vector({"jti": 5, "organization_id": "org-a"}, token_id="5"),
    "null jti": Vector({"jti": None, "organization_id": "org-a"}),
    "integer organization": Vector({"organization_id": 42}, asks="42"),
    "integers": Vector({"organization_id": [41, 42]}, asks="42"),
    "Keycloak's map": Vector({"organization": KEYCLOAK}, settings=ALIASES),
    "a list of maps": Vector({"organization": [KEYCLOAK]}, asks="org-b", settings=ALIASES),
    "an id inside is no alias": Vector(
        {"organization": KEYCLOAK}, asks="7", settings=ALIASES, code="organization_forbidden"
    ),
    "boolean": Vector({"organization_id": True}, asks="True", code="organization_claim_missing"),
    "boolean sub": Vector({"sub": True, "organization_id": "org-a"}, code="invalid_token"),
}


@pytest.mark.parametrize("vector", READ.values(), ids=READ.keys())
async def test_claims_are_read_as_what_they_mean(vector: Vector) -> None:
    access = verifier("HS256", **vector.settings)
    token = _with_nulls({"exp": int(time.time()) + 60, **vector.claims})
    try:
        identity = await access.verify(token)
        assert (identity.subject, identity.token_id) == (vector.subject, vector.token_id)
        code = "" if vector.asks in (identity.organizations or ()) else "organization_forbidden"
    except RequestRefused as refusal:
        code = refusal.code
    assert code == vector.code


def _with_nulls(claims: dict[str, Any]) -> str:
    return raw('{"alg":"HS256","typ":"JWT"}', json.dumps(claims), "HS256")


ISSUER = "https://issuer.example"
NOW = int(time.time())
REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    # Settings, claims, and the words of the log after the reason.
    "issuer": (
        {"jwt_issuer": ISSUER},
        {"iss": f"{ISSUER}/"},
        f"issuer: wanted {ISSUER}, got {ISSUER}/",
    ),
    "audience": (
        {"jwt_audience": "gateway"},
        {"aud": ["other", "third"]},
        "audience: wanted gateway, got other, third",
    ),
    "expired": ({}, {"exp": NOW - 100}, "expired: exp was "),
    "not_yet_valid": ({}, {"nbf": NOW + 100_000}, "not yet valid: nbf is in "),
    "claim_missing": ({}, {"exp": None}, "claim missing: exp"),
    "malformed": ({}, {"exp": "tomorrow"}, "malformed: exp is no date"),
    "signature": ({}, {"number": 1}, "signature: no key that is set has signed it"),
    "algorithm": ({}, {"algorithm": "HS512"}, "algorithm: wanted HS256, got HS512"),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_the_log_says_once_a_minute_why_a_token_was_refused(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """For each reason, and without the token; the answers of all but an expired one are equal."""
    caplog.set_level("INFO")
    settings, given, said = REFUSED[reason]
    claims = dict(given)
    access = verifier("HS256", **settings)
    token = signed(claims.pop("algorithm", "HS256"), claims.pop("number", 0), **claims)
    messages = set()
    for _ in range(3):
        with pytest.raises(RequestRefused) as caught:
            await access.verify(token)
        messages.add(str(caught.value))
        assert caught.value.reason == reason
    [line] = caplog.messages
    assert line.startswith(f"A token was refused: {said}")
    assert token not in line
    assert not any(part in line for part in token.split("."))
    [message] = messages
    assert message == await _plain_refusal() or reason == "expired"


async def _plain_refusal() -> str:
    with pytest.raises(RequestRefused) as caught:
        await verifier("HS256").verify("x")
    return str(caught.value)


async def test_a_missing_organization_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestRefused):
        await verifier("HS256").verify(signed("HS256", organization_id=None))
    assert "A token was refused: claim missing: organization_id" in caplog.text


async def test_what_is_quoted_can_be_encoded_and_is_short(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """JSON may hold a lone surrogate, which would break the log."""
    header = json.dumps({"alg": "\ud800" + "x" * 5000, "typ": "JWT"})
    with pytest.raises(RequestRefused):
        await verifier("HS256").verify(raw(header, payload(), "HS256"))
    [line] = caplog.messages
    line.encode()
    assert len(line) < 400


async def test_strangers_tokens_do_not_hide_another_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A line for each reason: what anyone can send is no reason to be silent about the rest."""
    access: TokenVerifier = verifier("HS256", jwt_audience="gateway")
    for token in (*["x"] * 50, signed("HS256", aud="other")):
        with pytest.raises(RequestRefused):
            await access.verify(token)
    assert len(caplog.messages) == 2
    assert "wanted gateway, got other" in caplog.messages[1]


async def test_refusals_are_counted_by_reason(start_gateway: StartGateway) -> None:
    """From 0 on, in one metric with the codes."""
    gateway = await start_gateway(ownership="token", admin_port=0, jwt_audience="gateway")
    name = 'sse_gateway_refusals_total{code="invalid_token",reason="audience"}'

    async def counted() -> str:
        async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
            text = await response.text()
        return next(line for line in text.splitlines() if line.startswith(name))

    assert await counted() == f"{name} 0.0"
    async with await gateway.get("run-1") as response:
        assert response.status == 401
        answer = await response.text()
    assert "audience" not in answer.replace("the audience in the gateway's settings", "")
    assert SECRET not in answer
    assert await counted() == f"{name} 1.0"
