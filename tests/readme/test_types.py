"""The JavaScript and TypeScript of the documents, against the types of the package."""

import json
import subprocess
from pathlib import Path

from tests.npm import MODULES, NODE
from tests.readme.blocks import CLIENT, CLIENT_IN_PORTUGUESE, README, ROOT, blocks

_CLIENT = ROOT / "gateway" / "client"
_PACKAGE = {
    "sse-gateway-client": "index.d.ts",
    "sse-gateway-client/react": "react.d.ts",
    "sse-gateway-client/react-executions": "react-executions.d.ts",
    "https://gateway.example.com/api/v1/sse/client/executions.js": "executions.d.ts",
    "https://gateway.example.com/api/v1/sse/client/index.js": "index.d.ts",
    "http://127.0.0.1:8080/api/v1/sse/client/index.js": "index.d.ts",
}
_NAMES = """
import type { StepLog } from "sse-gateway-client";
declare global {
  const token: string, executionId: string, orgId: string, API_URL: string;
  const getToken: () => Promise<string>;
  const session: { token(): Promise<string> };
  function show(...args: unknown[]): void;
  function render(...args: unknown[]): void;
  function Steps(props: { steps: StepLog[]; live: boolean }): null;
  function Spinner(): null;
}
"""
"""What the snippets take for granted."""

_PART = """import type { ExecutionEvent } from "sse-gateway-client";
export function part(event: ExecutionEvent) {
"""
"""Around a snippet that is a part of a function."""


def test_every_snippet_fits_the_types(tmp_path: Path) -> None:
    """An option, a field or a function that the package does not have is an error."""
    paths = {name: [str(_CLIENT / file)] for name, file in _PACKAGE.items()}
    paths["react/jsx-runtime"] = [str(MODULES / "@types/react/jsx-runtime.d.ts")]
    paths["react"] = [str(MODULES / "@types/react/index.d.ts")]
    options = {"allowJs": True, "noImplicitAny": False, "jsx": "react-jsx", "paths": paths}
    extended = {"extends": str(ROOT / "tests/npm/tsconfig.json"), "compilerOptions": options}
    (tmp_path / "tsconfig.json").write_text(json.dumps({**extended, "include": ["*"]}))
    (tmp_path / "names.ts").write_text(_NAMES)
    for document in (README, CLIENT, CLIENT_IN_PORTUGUESE):
        for number, block in enumerate(blocks(document, "js", "jsx", "ts")):
            text = block.text
            if "return" in text and "function" not in text:
                text = _PART + text + "}\n"
            name = f"{document.parent.name}-{document.stem}-{number}.{block.language}"
            (tmp_path / name).write_text(f"{text}\nexport {{}};\n")
    command = [NODE, str(MODULES / "typescript/bin/tsc"), "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
