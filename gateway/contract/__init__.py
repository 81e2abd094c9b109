"""The names that producers and gateway share in Redis (CONTRACT.md)."""
