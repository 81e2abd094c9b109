"""Bearer tokens: is this JWT genuine and in force, and which organizations does it name.

PyJWT verifies; this module decides what is required. It does not know which execution is asked
for: that is `gateway.access.policy`.
"""

import time
from dataclasses import dataclass

import jwt

from gateway.errors import Forbidden, Unauthenticated

ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says. `expires_at` is in seconds since the epoch."""

    subject: str
    organizations: frozenset[str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must look like. *leeway_seconds* bridges clocks that differ."""

    secret: str
    organization_claim: str
    issuer: str | None = None
    audience: str | None = None
    leeway_seconds: float = 0.0


class TokenVerifier:
    """Turns a token into an identity."""

    def __init__(self, rules: TokenRules) -> None:
        self._rules = rules

    def verify(self, token: str) -> Identity:
        """The identity that *token* proves.

        Raises:
            Unauthenticated: it is not genuine or not in force; never says more than that.
            Forbidden: it names no organization at all.
        """
        try:
            claims = jwt.decode(
                token,
                self._rules.secret,
                # An explicit list of one: the token's own header must not choose (RFC 8725, 3.1).
                algorithms=[ALGORITHM],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=self._rules.leeway_seconds,
                options={"require": ["exp"], "verify_aud": self._rules.audience is not None},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated(
                "The token has expired: get a new one.", "token_expired"
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated("The token is not valid here: renew it.") from None
        return Identity(
            subject=str(claims.get("sub", "")),
            organizations=self._organizations(claims.get(self._rules.organization_claim)),
            expires_at=float(claims["exp"]),
        )

    def _organizations(self, claim: object) -> frozenset[str]:
        names = [claim] if isinstance(claim, str) else claim
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Forbidden(
                f"The token names no organization: the claim {self._rules.organization_claim!r} "
                "must hold one, or a list of them.",
                "organization_claim_missing",
            )
        return frozenset(names)


def issue(
    secret: str,
    *,
    organization_id: str,
    subject: str = "dev",
    ttl_seconds: int = 3600,
    claim: str = "organization_id",
) -> str:
    """A signed token for development and tests; in production the customer's issuer signs."""
    now = int(time.time())
    claims = {"sub": subject, claim: organization_id, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)
