"""What operators look at: metrics, readiness, open streams; at an address of its own.

It says who watches what, so it is never served where browsers come. It changes nothing.
"""
