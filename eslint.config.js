/** Checks the pages' scripts and the Node.js programs of tests and benchmarks. prettier formats; no rule here is about style. */
import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/vendor/", "**/node_modules/", ".venv/", ".data/", "**/build/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "consistent-return": "error",
      eqeqeq: "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-param-reassign": "error",
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-unused-vars": ["error", { varsIgnorePattern: "^_", argsIgnorePattern: "^_" }],
      "no-use-before-define": ["error", { functions: false, classes: false }],
      "no-unused-private-class-members": "off", // tsc reports them, and knows that ??= reads.
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
      "require-atomic-updates": "error",
    },
  },
  { files: ["services/web/**/*.js"], languageOptions: { globals: globals.browser } },
  {
    files: ["benchmarks/peers/original/public/*.js"],
    languageOptions: { globals: { ...globals.browser, io: "readonly" } },
  },
  {
    files: ["tests/**/*.mjs", "benchmarks/**/*.mjs", "*.js"],
    languageOptions: { globals: globals.node },
    rules: { "no-console": "off" },
  },
];
