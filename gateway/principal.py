"""Who watches: what a token proves, and what its bearer asked to see.

Pure facts, known to all rooms. How a token is checked and whether the viewer may see the execution
is decided in `gateway.access`.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token, or the ticket that was given for one, says."""

    subject: str
    """The claim `sub`; empty where the token has none."""
    organizations: frozenset[str] | None
    """The organizations that it names; None when the claim is not looked at, since the backend
    decides (ownership `backend` with an empty claim name)."""
    expires_at: float
    """Seconds since the epoch: a stream does not outlive its token."""
    token_id: str = ""
    """The claim `jti`, by which one token can be revoked; empty where the token has none."""
    executions: frozenset[str] | None = None
    """Under ownership `token`, the only executions that it is good for; None for any."""
    payer: str = ""
    """Whom the limits of a subject count: a digest of what the bearer cannot choose."""

    def narrowed(self, organization_id: str, execution_id: str) -> "Identity":
        """The same for a request that may ask for this organization and execution alone. A token
        may name a thousand others, which every open stream would keep."""
        organizations, executions = self.organizations, self.executions
        if len(organizations or ()) > 1:
            organizations = frozenset((organization_id,))
        if executions:
            executions &= {execution_id}
        if organizations is self.organizations and executions == self.executions:
            return self
        return replace(self, organizations=organizations, executions=executions)


@dataclass(frozen=True, slots=True)
class Principal:
    """One request to see one execution, by somebody whose token was verified."""

    execution_id: str
    organization_id: str
    """The organization asked for; it is among the token's, or the backend decides."""
    identity: Identity
    token: str | None = field(default=None, repr=False)
    """The caller's own token, under ownership `backend` alone; None for whoever has a ticket."""
