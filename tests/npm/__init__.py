"""Node, and the packages of npm that tests need: React, the TypeScript compiler, and the clients
that people have. `make` installs them beside Python's, into `.venv`."""

import sys
from pathlib import Path

NODE = str(Path(sys.prefix, "bin", "node"))
NPM = str(Path(sys.prefix, "bin", "npm"))
MODULES = Path(sys.prefix, "npm", "node_modules")
