"""The `sse-gateway` command; `gateway.cli.main` lists its subcommands."""
