"""Traces: of the producer in its events, and the gateway's own spans."""
