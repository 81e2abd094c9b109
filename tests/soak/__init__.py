"""A soak: streams, memory, descriptors and tasks of the gateways end where they began."""
