"""What a verified token says of its bearer: organizations, executions, and for how long."""

import time
from collections.abc import Sequence
from typing import Any

import jwt
import pytest

from gateway.access import tokens
from gateway.access.keys import Key, Keys, secret_keys
from gateway.access.tokens import TokenVerifier, issue
from gateway.errors import Forbidden, Unauthenticated
from tests.access.issuers import (
    accepting,
    payload,
    raw_claims,
    replace_keys,
    rules,
    signed,
    verifier,
    verifying_keys,
)
from tests.support import SECRET


def access(claim: str = "organization_id", **others: Any) -> TokenVerifier:
    return accepting(rules(organization_claim=claim, **others), verifying_keys("HS256"))


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("organization_id", {"organization_id": "acme"}),
        ("organization_id", {"organization_id": ["acme"]}),
        ("tenant", {"tenant": "acme"}),
        ("app.tenant", {"app": {"tenant": ["acme"]}}),
        ("app.tenant.id", {"app": {"tenant": {"id": "acme"}}}),
        ("app.tenant", {"app.tenant": "acme", "app": {"tenant": "eve"}}),
        ("https://acme.example/org", {"https://acme.example/org": "acme"}),
    ],
)
async def test_organization_is_found_by_name_or_path(claim: str, claims: dict[str, Any]) -> None:
    """The organization is found by name, the whole name first, else by the path."""
    identity = await access(claim).verify(signed("HS256", **{"organization_id": None, **claims}))
    assert identity.organizations == {"acme"}


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("tenant", {}),
        ("tenant", {"app": {"tenant": "acme"}}),
        ("app.tenant", {"app": "tenant"}),
        ("app.tenant", {"app": ["tenant"]}),
        ("app.tenant", {"tenant": "acme"}),
        ("app.", {"app": "acme"}),
        ("tenant", {"tenant": 1.5}),
        ("tenant", {"tenant": True}),
        ("tenant", {"tenant": ["acme", False]}),
        ("tenant", {"tenant": ["acme", None]}),
        ("tenant", {"tenant": {"acme": True}}),
        ("tenant", {"tenant": [["acme"]]}),
    ],
)
async def test_a_token_without_organization_is_refused(claim: str, claims: dict[str, Any]) -> None:
    """A token without an organization where it is looked for is refused, and told where."""
    with pytest.raises(Forbidden, match=f"'{claim}'") as caught:
        await access(claim).verify(signed("HS256", **claims))
    assert caught.value.code == "organization_claim_missing"
    assert "acme" not in str(caught.value)


async def test_an_empty_claim_name_reads_no_organization() -> None:
    """With an empty claim name no organization is read, and none is claimed to have been."""
    assert (await access("").verify(signed("HS256"))).organizations is None
    assert (await access().verify(signed("HS256"))).organizations == {"acme"}


@pytest.mark.parametrize(
    ("claims", "executions"),
    [
        ({}, None),
        ({"executions": []}, set()),
        ({"executions": ["a", "b"]}, {"a", "b"}),
        ({"executions": "a"}, set()),
        ({"executions": ["a", 1]}, {"a", "1"}),
        ({"executions": ["a", True]}, set()),
        ({"executions": {"a": 1}}, set()),
        ({"executions": False}, set()),
    ],
)
async def test_executions_claim_is_read(
    claims: dict[str, Any], executions: set[str] | None
) -> None:
    """The claim `executions` narrows a token; a malformed one leaves nothing of it."""
    token = signed("HS256", **claims)
    assert (await access(ownership="token").verify(token)).executions == executions
    assert (await access().verify(token)).executions is None


async def test_executions_null_allows_none() -> None:
    """Null is a malformed claim, not an absent one."""
    token = raw_claims(payload()[:-1] + ',"executions":null}')
    assert (await access(ownership="token").verify(token)).executions == frozenset()


async def test_a_token_may_have_no_subject() -> None:
    """A token may name no subject and no id."""
    identity = await access().verify(signed("HS256", sub=None))
    assert (identity.subject, identity.token_id) == ("", "")


class Counting:
    """Passes everything on to real keys, and counts the verifications they were asked for."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.generation = 0
        self.asked = 0

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        self.asked += 1
        return await self._keys.candidates(algorithm, kid)


class Clock:
    """Seconds since the epoch, which a test can move."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


async def test_a_reconnect_storm_verifies_once() -> None:
    """Ten thousand reconnects with one token verify one signature; another token's is verified."""
    keys = Counting(verifying_keys("RS256"))
    access = verifier("RS256", keys=keys)
    token = signed("RS256")
    seen = {await access.verify(token) for _ in range(10_000)}
    assert len(seen) == 1
    assert keys.asked == 1
    assert (await access.verify(signed("RS256", sub="bob"))).subject == "bob"
    assert keys.asked == 2


async def test_a_cached_token_does_not_wait() -> None:
    """A cached token is answered without an await."""
    access = verifier("HS256")
    token = signed("HS256")
    known = await access.verify(token)
    coroutine = access.verify(token)
    with pytest.raises(StopIteration) as answered:
        coroutine.send(None)
    assert answered.value.value == known


async def test_a_cached_token_expires() -> None:
    """A cached token ends with its expiry and the leeway, without being verified again."""
    keys, clock = Counting(verifying_keys("HS256")), Clock()
    access = accepting(rules(jwt_leeway_seconds=10.0), keys, clock)
    token = signed("HS256", exp=int(time.time()) + 60)
    await access.verify(token)
    clock.offset = 65
    await access.verify(token)
    clock.offset = 75
    for _ in range(3):
        with pytest.raises(Unauthenticated) as caught:
            await access.verify(token)
        assert caught.value.code == "token_expired"
    assert keys.asked == 1


async def test_refusals_are_not_cached() -> None:
    """A token that was refused passes once its key is there."""
    access = verifier("RS256", keys=verifying_keys("RS256", 1))
    token = signed("RS256")
    with pytest.raises(Unauthenticated):
        await access.verify(token)
    replace_keys(access, verifying_keys("RS256"), "RS256")
    assert (await access.verify(token)).subject == "ada"


async def test_tokens_of_a_removed_key_are_refused() -> None:
    """A token of a removed key is refused, though it was cached."""
    access = verifier("RS256")
    token = signed("RS256")
    await access.verify(token)
    replace_keys(access, verifying_keys("RS256", 1), "RS256")
    with pytest.raises(Unauthenticated):
        await access.verify(token)
    assert (await access.verify(signed("RS256", 1))).subject == "ada"


async def test_changed_keys_verify_every_token_again() -> None:
    """The cache is dropped when the keys say that they have changed."""
    keys = Counting(verifying_keys("HS256"))
    access = verifier("HS256", keys=keys)
    token = signed("HS256")
    for _ in range(2):
        await access.verify(token)
    assert keys.asked == 1
    keys.generation += 1
    for _ in range(2):
        await access.verify(token)
    assert keys.asked == 2


async def test_the_least_recently_used_token_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens not used for longest are dropped first."""
    # Room for three that are like these.
    monkeypatch.setattr(tokens, "CACHE_BYTES", 2900)
    keys = Counting(verifying_keys("HS256"))
    access = verifier("HS256", keys=keys)
    ada, *others = (signed("HS256", sub=name) for name in ("ada", "bob", "cy", "dan"))
    for token in (ada, others[0], others[1], ada, others[2]):
        await access.verify(token)
    assert keys.asked == 4
    await access.verify(ada)
    assert keys.asked == 4
    await access.verify(others[0])
    assert keys.asked == 5


@pytest.mark.parametrize("claim", ["organization_id", "app.tenant", "https://acme.example/org"])
async def test_an_issued_token_is_valid(claim: str) -> None:
    """A token for development is found good under the same name of the claim."""
    access = accepting(rules(organization_claim=claim), secret_keys([SECRET]))
    token = issue(SECRET, organization_id="acme", subject="ada", claim=claim)
    identity = await access.verify(token)
    assert identity.organizations == {"acme"}
    assert identity.subject == "ada"
    if claim == "app.tenant":
        read = jwt.decode(token, SECRET, algorithms=["HS256"])
        assert read["app"] == {"tenant": "acme"}
