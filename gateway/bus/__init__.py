"""Everything that talks to Redis: the one subscription, the canary, history, registrations."""
