"""The names that producers and gateway share in Redis (design, section 3)."""
