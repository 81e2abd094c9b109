// What `make lint` asks of the JavaScript. Its format is prettier's part.

import js from "@eslint/js";
import globals from "globals";

export default [
  // Made by esbuild.
  { ignores: ["gateway/client/bundled/", "gateway/page/bundled/"] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "max-lines": ["error", 300],
      "max-lines-per-function": ["error", 40],
      complexity: ["error", 12],
      "no-console": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
    },
  },
  {
    files: ["**/*.mjs", "**/*.jsx", "tests/**"],
    languageOptions: {
      globals: { ...globals.node, ...globals.browser },
      parserOptions: { ecmaFeatures: { jsx: true } },
    },
    rules: { "max-lines-per-function": "off", "no-console": "off" },
  },
  // That JSX uses a name shows only to React's plugin, which would be one more dependency.
  { files: ["**/*.jsx"], rules: { "no-unused-vars": "off" } },
];
