"""Programs around the gateway: what checks, loads, shows and reads one. No gateway needs them."""
