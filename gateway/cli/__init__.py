"""The `sse-gateway` command; one file a subcommand, listed in `gateway.cli.main`."""
