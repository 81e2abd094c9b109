"""`sse-gateway token`: a token to try the gateway with. Production tokens come from your issuer."""

import click

from gateway.access.tokens import issue
from gateway.cli.options import check_secret
from gateway.cli.output import console, echo


@click.command(epilog="Example: sse-gateway token --organization acme --ttl 600")
@click.option("--organization", required=True, help="The organization that it is for.")
@click.option("--subject", default="dev", show_default=True, help="Who it is for.")
@click.option("--ttl", default=3600, show_default=True, help="Seconds that it is valid.")
@click.option(
    "--claim",
    envvar="GATEWAY_ORGANIZATION_CLAIM",
    default="organization_id",
    show_default=True,
    help="Claim that holds the organization.",
)
@click.option(
    "--secret",
    envvar="GATEWAY_JWT_SECRET",
    callback=check_secret,
    show_envvar=True,
    required=True,
    help="The gateway's HS256 secret; better given in the environment.",
)
def token(organization: str, subject: str, ttl: int, claim: str, secret: str) -> None:
    """Print a signed token for development. NOT FOR PRODUCTION: there your issuer signs them."""
    warning = "NOT FOR PRODUCTION: a token for development."
    console(stderr=True, soft_wrap=True).print(warning, style="bold red")
    echo("Whoever holds the secret can be anybody; in production only your issuer does.", err=True)
    echo(issue(secret, organization_id=organization, subject=subject, ttl_seconds=ttl, claim=claim))
