"""The real parts that tests run: gateway processes, Redis, proxies, and readers of streams."""
