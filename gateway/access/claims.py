"""What the claims of a genuine token say about its bearer.

PyJWT has checked signature, times, issuer and audience before. Its reading of numbers is generous,
and JSON can hold text that is none: here is refused what would be misunderstood further on.
"""

import hashlib
from typing import Any

from gateway.errors import Forbidden
from gateway.principal import Identity

Claims = dict[str, Any]

_LAST_SECOND = 253402300799
"""The end of the year 9999 in seconds since the epoch; later ones are mostly milliseconds."""


def identity(
    claims: Claims, organization_claim: str, *, reads_executions: bool, digest: bytes
) -> Identity:
    """Who the bearer of a token with these *claims* and this *digest* is.

    Raises:
        ValueError: a claim is not what it must be (RFC 7519, section 4.1).
        Forbidden: they name no organization.
    """
    for name in ("nbf", "iat"):
        if name in claims:
            _seconds(claims[name])
    subject = _text(claims.get("sub", ""))
    organizations = _organizations(claims, organization_claim) if organization_claim else None
    return Identity(
        subject=subject,
        organizations=organizations,
        expires_at=_seconds(claims["exp"]),
        token_id=_text(claims.get("jti", "")),
        executions=_executions(claims) if reads_executions else None,
        payer=_payer(claims.get("iss"), subject, organizations, digest),
    )


def find(claims: Claims, path: str) -> object:
    """The claim of that name, else the one that the path *a.b* leads to; None if there is none."""
    if path in claims:
        # A name may be a URL, with dots in it (RFC 7519, section 4.2).
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
    claim = find(claims, path)
    names = [claim] if isinstance(claim, str) else claim
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Forbidden(
            f"The token names no organization: the claim {path!r} must hold one, or a list of "
            "them.",
            "organization_claim_missing",
        )
    return frozenset(_text(name) for name in names)


def _payer(
    issuer: object, subject: str, organizations: frozenset[str] | None, digest: bytes
) -> str:
    """A `sub`, which its issuer gives to one only (RFC 7519, section 4.1.2); without one, all who
    have the same organizations; without these too, the token itself. Never what a request says."""
    who: object = (issuer, subject)
    if not subject:
        who = digest if organizations is None else sorted(organizations)
    # As Python writes it, any text can be encoded.
    return hashlib.blake2b(repr(who).encode(), digest_size=16).hexdigest()


def _executions(claims: Claims) -> frozenset[str] | None:
    if "executions" not in claims:
        return None
    names = claims["executions"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        # Whoever wanted to narrow a token must not have opened it by a slip.
        return frozenset()
    return frozenset(names)


def _text(value: object) -> str:
    """Text that can be stored and compared: a lone surrogate cannot be encoded anywhere."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004  the same to a caller as any other bad claim
    value.encode()
    return value


def _seconds(value: object) -> float:
    """A NumericDate (RFC 7519, section 2): a JSON number, which in Python a bool passes for."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")  # noqa: TRY004  the same to a caller as any other bad claim
    if not 0 <= value <= _LAST_SECOND:
        raise ValueError("no date")
    return float(value)
