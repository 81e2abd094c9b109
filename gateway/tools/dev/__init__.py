"""What `sse-gateway dev` adds to a gateway: a simulated engine, and control of it from the page."""
