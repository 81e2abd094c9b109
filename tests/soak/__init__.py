"""A soak: all that can happen to gateways, for minutes, and then a look at what has not gone away.

`python -m tests.soak` is `make soak`. Who reads, who announces and what must be seen is taken from
`tests.delivery`.
"""
