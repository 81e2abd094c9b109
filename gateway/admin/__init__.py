"""What operators look at: metrics, readiness, open streams; at an address of its own.

This shows who watches what, so it is never served at the address of browsers. It changes nothing.
"""
