"""Viewers as tests need them, without a token behind them."""

from gateway.principal import Identity, Principal

FOR_EVER = 1e15
"""An `expires_at` that no test lives to see."""


def principal(
    execution_id: str = "run-1",
    organization_id: str = "acme",
    *,
    subject: str = "user-7",
    token_id: str = "",
    expires_at: float = FOR_EVER,
) -> Principal:
    """Somebody of *organization_id* who watches *execution_id*."""
    organizations = frozenset({organization_id})
    identity = Identity(subject, organizations, expires_at, token_id)
    return Principal(execution_id, organization_id, identity)
