"""Node, and the packages of npm that tests and `make lint` need: React, Vue, Svelte, vite, the
TypeScript compiler, eslint, prettier, and other clients. `make` installs them into `.venv`."""

import sys
from pathlib import Path

NODE = str(Path(sys.prefix, "bin", "node"))
NPM = str(Path(sys.prefix, "bin", "npm"))
MODULES = Path(sys.prefix, "npm", "node_modules")
