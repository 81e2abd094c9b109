"""`sse-gateway check --token`: why a gateway refuses a token, and what it allows."""

import time
from typing import Any

import jwt

from gateway.tools.check.configuration import check_tokens
from tests.access.issuers import signed
from tests.access.jwks_server import start_issuer
from tests.conftest import MakeSettings
from tests.harness.gateway_process import run
from tests.support import SECRET

SETTINGS = {"GATEWAY_JWT_AUDIENCE": "gateway", "GATEWAY_JWT_SECRET": SECRET}
CLAIMS = {"sub": 7, "organization_id": ["acme"], "aud": "gateway", "exp": int(time.time()) + 600}


async def said(token: str, *more: str, **settings: str) -> tuple[int, str]:
    """The exit status and what is said of *token*, which is not shown."""
    given = {**SETTINGS, **settings, "SSE_GATEWAY_TOKEN": token}
    status, out, err = await run("check", "--offline", *more, **given)
    assert err == ""
    assert not any(part in out for part in token.split("."))
    return status, " ".join(out.split())


async def test_a_token_is_explained(aiohttp_server: Any, make_settings: MakeSettings) -> None:
    """All that it is refused for, and whom it names. Offline its signature is checked too, where
    that takes no fetch."""
    good, expired = jwt.encode(CLAIMS, SECRET), {"aud": "x", "exp": int(time.time()) - 60}
    status, text = await said(good)
    assert status == 0
    assert "The gateway accepts it. It names the subject 7 and the organizations acme." in text
    assert await said(good, "--organization", "acme") == (0, text)
    status, text = await said(good, "--organization", "other")
    assert (status, "The gateway refuses it for other." in text) == (1, True)
    status, text = await said(jwt.encode({**CLAIMS, **expired}, SECRET[::-1]))
    assert status == 1
    assert "audience: wanted gateway, got x" in text
    assert "expired: exp was" in text
    assert "signature: no key that is set has signed it" in text
    assert "accepts" not in text
    status, text = await said("nonsense")
    assert (status, "malformed: it is no JWT" in text) == (1, True)

    issuer = await start_issuer(aiohttp_server)
    fetched = make_settings(jwt_secret=None, jwks_url=issuer.url, jwt_algorithms=("RS256",))
    for offline, expected in ((True, "note"), (False, "error")):
        findings = await check_tokens(fetched, None, signed("RS256", 1), offline=offline)
        assert expected in [one.level for one in findings if one.about == "Token"]
        found = [one.sentence for one in findings if "ignature" in one.sentence]
        assert found == [
            "Its signature was not checked: the keys were not fetched."
            if offline
            else "The gateway refuses it: signature: no key that is set has signed it."
        ]
        assert issuer.requests == (0 if offline else 1)


async def test_what_a_token_may_publish_is_said() -> None:
    """Where the gateway takes events by HTTP: a token that may, must not be a browser's."""
    token = jwt.encode(CLAIMS, SECRET)
    assert "publish" not in (await said(token))[1]
    right = {"scope": "executions:publish"}
    for claims, expected in (
        ({}, "It may not publish: that takes executions:publish in the claim scope."),
        (right, "It may publish, so only a worker may have it."),
        (right | {"executions": ["a", "b"]}, "It may publish in 2 executions, so only a worker"),
    ):
        token = jwt.encode({**CLAIMS, **claims}, SECRET)
        assert expected in (await said(token, GATEWAY_PUBLISH="on"))[1]
