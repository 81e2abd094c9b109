"""What one needs to try the gateway on a bare machine: a Redis, an engine, a page."""
