"""Everything that asks Redis: the one subscription, the canary, whose execution it is."""
