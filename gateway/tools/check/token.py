"""Explains one token: what it says, and every reason for which these settings refuse it."""

import time
from collections.abc import Sequence

from gateway.access.claims import Claims, Invalid, faults, identity, issuer_of
from gateway.access.jwks import JwksKeys
from gateway.access.keys import Issuer
from gateway.access.tokens import ParsedToken, check_signature, parse
from gateway.errors import Forbidden, Unavailable
from gateway.settings import Settings, variable
from gateway.tools.check.finding import Finding, Topic

_TOPIC = Topic("Token")

_REMEDIES = {
    "malformed": "Send the token as the issuer gave it, without quotes, or correct the claim.",
    "algorithm": f"Set {variable('jwt_algorithms')} to what the issuer signs with.",
    "unknown_key": "Compare the kid with the names of the keys that the issuer publishes.",
    "signature": "Compare the gateway's secret or public key with the issuer's.",
    "expired": "Get a new one.",
    "not_yet_valid": "Compare the clocks of the issuer and of this machine.",
    "issuer": f"Set {variable('jwt_issuer')} to exactly what the token says, if it is yours.",
    "audience": f"Set {variable('jwt_audience')} to what the token says, if it is meant for you.",
    "claim_missing": "Have the issuer add the claim.",
}


async def explain(
    text: str,
    issuers: Sequence[Issuer],
    settings: Settings,
    organization: str | None = None,
    *,
    offline: bool,
) -> list[Finding]:
    """Findings about the token *text*, which is to be used for *organization*, if given; *offline*:
    keys at a URL are not fetched, and its signature not checked with them."""
    try:
        token = parse(text)
        issuer = issuer_of(token.claims, issuers)
    except Invalid as invalid:
        return [_refused(invalid)]
    found = list(faults(token.claims, issuer, settings.jwt_leeway_seconds, time.time()))
    notes = []
    try:
        if offline and isinstance(issuer.keys, JwksKeys):
            notes.append(_TOPIC.note("Its signature was not checked: the keys were not fetched."))
        else:
            await check_signature(token, issuer)
    except Invalid as invalid:
        found.append(invalid)
    except Unavailable as error:
        notes.append(_TOPIC.warning(str(error), "Try again when the issuer can be reached."))
    findings = [_refused(invalid) for invalid in found] + notes
    return [*findings, *_bearer(token, settings, organization, valid=not found)]


def _bearer(
    token: ParsedToken, settings: Settings, organization: str | None, *, valid: bool
) -> list[Finding]:
    """Whom the token names, as the gateway reads it, and whether that includes *organization*."""
    claims: Claims = token.claims if isinstance(token.claims, dict) else {}
    try:
        read = identity(
            claims | {"exp": 0},
            settings.organization_claim,
            reads_executions=settings.ownership == "token",
            digest=b"",
            publish_right=settings.publish_right,
        )
    except Invalid as invalid:
        return [_refused(invalid)]
    except Forbidden as error:
        return [_TOPIC.error(str(error), f"Or set {variable('organization_claim')} to its name.")]
    organizations = "any" if read.organizations is None else ", ".join(sorted(read.organizations))
    subject = read.subject or "(none)"
    sentence = f"It names the subject {subject} and the organizations {organizations}."
    if organization is not None and organization not in (read.organizations or (organization,)):
        remedy = "Ask for one of them, or have the issuer add it to the token."
        return [_TOPIC.error(f"The gateway refuses it for {organization}. {sentence}", remedy)]
    if read.executions is not None:
        sentence += f" It is for {len(read.executions)} executions only."
    if settings.publish:
        sentence += f" {_publishing(settings, read.publishes)}"
    return [_TOPIC.ok(f"The gateway accepts it. {sentence}") if valid else _TOPIC.note(sentence)]


def _publishing(settings: Settings, publishes: frozenset[str] | None) -> str:
    """Whether a worker may publish with it, and so whether a browser may not have it."""
    if publishes is not None and not publishes:
        right = f"{settings.publish_scope} in the claim {settings.publish_claim}"
        return f"It may not publish: that takes {right}."
    where = "" if publishes is None else f" in {len(publishes)} executions"
    return f"It may publish{where}, so only a worker may have it."


def _refused(invalid: Invalid) -> Finding:
    return _TOPIC.error(f"The gateway refuses it: {invalid}.", _REMEDIES[invalid.reason])
