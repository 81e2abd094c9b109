"""What the claims of a token must say, and what they say about its bearer.

Types are checked strictly: JSON can hold text that cannot be encoded, and numbers that are not
dates.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from gateway.access.keys import Issuer
from gateway.errors import Forbidden
from gateway.principal import Identity

Claims = dict[str, Any]

Reason = Literal[
    "malformed", "algorithm", "unknown_key", "signature", "expired", "not_yet_valid", "issuer",
    "audience", "claim_missing",
]  # fmt: skip
"""Why a token is not valid, for metrics and the log: the bearer does not learn it."""

_LAST_SECOND = 253402300799
"""The end of the year 9999 in seconds since the epoch; later ones are mostly milliseconds."""

_SHOWN = 200
"""Most characters of the details, which may quote a claim."""


class Invalid(ValueError):
    """A token is not valid; the message has details for the operator, from a token that may be
    anyone's."""

    def __init__(self, reason: Reason, details: str = "") -> None:
        self.reason = reason
        # JSON may hold lone surrogates, which no log can be encoded with.
        shown = details[:_SHOWN].encode(errors="backslashreplace").decode()
        super().__init__(reason.replace("_", " ") + (f": {shown}" if shown else ""))


def check(claims: object, issuers: Sequence[Issuer], leeway: float, now: float) -> Issuer:
    """The one of *issuers* whose claims these are (RFC 7519, section 4.1), valid at *now*, in
    seconds since the epoch.

    Raises:
        Invalid: they are not what that issuer's tokens must have.
    """
    issuer = issuer_of(claims, issuers)
    for fault in faults(claims, issuer, leeway, now):
        raise fault
    return issuer


def issuer_of(claims: object, issuers: Sequence[Issuer]) -> Issuer:
    """The one of *issuers* that *claims* name.

    Raises:
        Invalid: it is none of them.
    """
    named = claims.get("iss") if isinstance(claims, dict) else None
    for issuer in issuers:
        if issuer.name is None or issuer.name == named:
            return issuer
    wanted = " or ".join(issuer.name or "" for issuer in issuers)
    raise Invalid("issuer", f"wanted {wanted}, got {_shown(named)}")


def faults(claims: object, issuer: Issuer, leeway: float, now: float) -> Iterator[Invalid]:
    """All that is wrong with *claims* of *issuer*; see `check`."""
    if not isinstance(claims, dict):
        yield Invalid("malformed", "the claims are no JSON object")
        return
    yield from _wrong_times(claims, leeway, now)
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    is_named = issuer.audience in named and all(isinstance(one, str) for one in named)
    if issuer.audience is not None and not is_named:
        yield Invalid("audience", f"wanted {issuer.audience}, got {_shown(audience)}")


def _wrong_times(claims: Claims, leeway: float, now: float) -> Iterator[Invalid]:
    for name in ("exp", "nbf", "iat"):
        if name not in claims:
            if name == "exp":
                yield Invalid("claim_missing", name)
            continue
        seconds = _seconds(claims[name])
        if seconds is None:
            yield Invalid("malformed", f"{name} is no date in seconds since 1970")
        elif name == "exp" and seconds <= now - leeway:
            yield Invalid("expired", f"exp was {now - seconds:.0f} s ago")
        elif name != "exp" and seconds > now + leeway:
            yield Invalid("not_yet_valid", f"{name} is in {seconds - now:.0f} s")


def _shown(value: object) -> str:
    """A claim that should be text or a list of it."""
    values = value if isinstance(value, list) else [value]
    texts = [one if isinstance(one, str) else f"({type(one).__name__})" for one in values]
    return "none" if value is None else ", ".join(texts)


def identity(
    claims: Claims,
    organization_claim: str,
    *,
    reads_executions: bool,
    digest: bytes,
    publish_right: tuple[str, str] | None = None,
) -> Identity:
    """The bearer of a token with these checked *claims* and this *digest*. *publish_right*: the
    claim and the word in it that allow to publish; None where nobody may.

    Raises:
        Invalid: a claim has the wrong type or value (RFC 7519, section 4.1).
        Forbidden: they name no organization.
    """
    subject = _name_in(claims, "sub")
    organizations = _organizations(claims, organization_claim) if organization_claim else None
    return Identity(
        subject=subject,
        organizations=organizations,
        expires_at=float(claims["exp"]),
        token_id=_name_in(claims, "jti"),
        executions=_executions(claims) if reads_executions else None,
        publishes=_publishes(claims, publish_right),
        payer=_payer(claims.get("iss"), subject, organizations, digest),
    )


def find(claims: Claims, path: str) -> object:
    """The claim of that name, else the one at the path *a.b*; None if there is none."""
    # A name may be a URL, with dots in it (RFC 7519, section 4.2).
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def place(path: str, value: object) -> Claims:
    """Claims in which `find` finds *value* at *path*; none for an empty path."""
    if not path:
        return {}
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value) if isinstance(value, dict) else {}


def _organizations(claims: Claims, path: str) -> frozenset[str]:
    """A name, a map of details by name as Keycloak has it, or a list of these."""
    claim = find(claims, path)
    names: list[str | None] = []
    for one in claim if isinstance(claim, list) else [claim]:
        if isinstance(one, dict) and all(isinstance(details, dict) for details in one.values()):
            names += map(_name, one)
        else:
            names.append(_name(one))
    found = frozenset(name for name in names if name is not None)
    if None in names:
        raise Forbidden(
            f"The token names no organization: its claim {path!r} must be an organization, or a "
            "list of them.",
            "organization_claim_missing",
        )
    return found


def _payer(
    issuer: object, subject: str, organizations: frozenset[str] | None, digest: bytes
) -> str:
    """A `sub`, which is unique for its issuer (RFC 7519, section 4.1.2); without one, all with the
    same organizations; without these too, the token itself. Never what a request says."""
    who: object = (issuer, subject)
    if not subject:
        who = digest if organizations is None else sorted(organizations)
    # A repr can always be encoded.
    return hashlib.blake2b(repr(who).encode(), digest_size=16).hexdigest()


def _executions(claims: Claims) -> frozenset[str] | None:
    if "executions" not in claims:
        return None
    claim = claims["executions"]
    names = [_name(one) for one in claim] if isinstance(claim, list) else [None]
    if None in names:
        # A mistake in a claim that narrows the token must not widen it.
        return frozenset()
    return frozenset(name for name in names if name is not None)


def _publishes(claims: Claims, right: tuple[str, str] | None) -> frozenset[str] | None:
    """The executions whose events the bearer may publish: none without the *right*, a word in a
    text (RFC 8693, section 4.2) or in a list."""
    if right is None:
        return frozenset()
    claim, word = right
    given = find(claims, claim)
    words = given.split(" ") if isinstance(given, str) else given
    if not isinstance(words, list) or word not in words:
        return frozenset()
    return _executions(claims)


def _name_in(claims: Claims, claim: str) -> str:
    """The name in *claim*; empty where there is none."""
    value = claims.get(claim)
    name = "" if value is None else _name(value)
    if name is None:
        raise Invalid("malformed", f"{claim} is neither text nor a whole number")
    return name


def _name(value: object) -> str | None:
    """Text that can be encoded (JSON may hold a lone surrogate), or a whole number as text: many
    applications number their users. None for anything else; in Python a bool is an int."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _seconds(value: object) -> float | None:
    """A NumericDate (RFC 7519, section 2): a JSON number; in Python a bool is an int."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LAST_SECOND else None
