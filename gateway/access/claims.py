"""What the claims of a verified token say about its bearer.

PyJWT has checked signature, times, issuer and audience. This module is stricter about types: PyJWT
accepts numbers in other forms, and JSON can hold text that cannot be encoded.
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
    """The bearer of a token with these *claims* and this *digest*.

    Raises:
        ValueError: a claim has the wrong type or value (RFC 7519, section 4.1).
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
    claim = find(claims, path)
    names = [claim] if isinstance(claim, str) else claim
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Forbidden(
            f"The token names no organization: its claim {path!r} must be one, or a list of them.",
            "organization_claim_missing",
        )
    return frozenset(_text(name) for name in names)


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
    names = claims["executions"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        # A mistake in a claim that narrows the token must not widen it.
        return frozenset()
    return frozenset(names)


def _text(value: object) -> str:
    """Text that can be encoded: JSON may hold a lone surrogate."""
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 - one error for all bad claims
    value.encode()
    return value


def _seconds(value: object) -> float:
    """A NumericDate (RFC 7519, section 2): a JSON number; in Python a bool is an int."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")  # noqa: TRY004 - one error for all bad claims
    if not 0 <= value <= _LAST_SECOND:
        raise ValueError("not a date")
    return float(value)
