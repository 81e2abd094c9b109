"""What a token proves, and what its bearer asked to see; `gateway.access` decides on both."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token, or the ticket that was issued for one, says."""

    subject: str
    """The claim `sub`; empty if the token has none."""
    organizations: frozenset[str] | None
    """The organizations that it names; None if the claim is not read, since the backend decides
    (ownership `backend` with an empty claim name)."""
    expires_at: float
    """Seconds since the Unix epoch: a stream does not outlive its token."""
    token_id: str = ""
    """The claim `jti`, by which one token can be revoked; empty if the token has none."""
    executions: frozenset[str] | None = None
    """Under ownership `token`, the only executions that it may see; None for any."""
    publishes: frozenset[str] | None = frozenset()
    """The executions whose events it may publish; None for all of its organizations. No stream
    keeps it."""
    payer: str = ""
    """Whom the limits of a subject count: a digest of what the bearer cannot choose."""

    def narrowed(self, organization_id: str, *execution_ids: str) -> "Identity":
        """The same for this organization alone, and where any are given for these executions alone.
        A token may name a thousand others, which would stay in memory with every open stream."""
        organizations, executions = self.organizations, self.executions
        if len(organizations or ()) > 1:
            organizations = frozenset((organization_id,))
        if executions and execution_ids:
            executions = executions.intersection(execution_ids)
        is_narrow = organizations is self.organizations and executions == self.executions
        if is_narrow and self.publishes == frozenset():
            return self
        return replace(
            self, organizations=organizations, executions=executions, publishes=frozenset()
        )


@dataclass(frozen=True, slots=True)
class Principal:
    """One request to see one execution, with a verified token or ticket."""

    execution_id: str
    """Empty where the request is about several, or about an organization."""
    organization_id: str
    """The organization asked for; it is among the token's, or the backend decides."""
    identity: Identity
    token: str | None = field(default=None, repr=False)
    """The caller's own token, under ownership `backend` alone; None with a ticket."""
