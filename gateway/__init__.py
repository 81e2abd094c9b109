"""The execution-stream gateway: Redis PUBLISH in, Server-Sent Events out.

The version below is the only one: packaging, the CLI and the `Server` header read it here.
"""

__version__ = "0.1.0"
