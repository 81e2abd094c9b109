"""What somebody is told whose access was revoked. Whom that hits is `gateway.bus.revocations`."""

from typing import NoReturn

from gateway.contract.revocation import Kind
from gateway.errors import ExecutionNotFound, Forbidden, Unauthenticated


def refuse_revoked(kind: Kind) -> NoReturn:
    """Refuse a viewer whom a revocation of this *kind* hits.

    Raises:
        Unauthenticated: of the subject or the token: 401 `token_revoked`.
        Forbidden: of the organization: 403 `organization_revoked`.
        ExecutionNotFound: of the execution: nobody learns more of it than of an unknown one.
    """
    match kind:
        case "subject" | "token-id":
            raise Unauthenticated("The token was revoked: log in again.", "token_revoked")
        case "organization":
            raise Forbidden(
                "This organization's access was revoked: ask whoever runs the gateway.",
                "organization_revoked",
            )
        case "execution":
            raise ExecutionNotFound
