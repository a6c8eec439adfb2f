// The types: strict projects that use everything check, with `import` and with `require`; none of OpenAI's is missing.
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import ts from 'typescript';

const CONFIG = fileURLToPath(new URL('types/tsconfig.json', import.meta.url));
// Those of openai 7 that 6 does not have: ours cannot name them.
const NEW_IN_7 = /^(DataResidency|TokenPage|Decision|Parsed|ChatCompletionParseParams|ContentProvenance|Safety|Live)/;

const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: assert.fail };
const { fileNames, options } = ts.getParsedCommandLineOfConfigFile(CONFIG, {}, host);
const program = ts.createProgram(fileNames, options);
const checker = program.getTypeChecker();

test('a strict project with ES modules and one with CommonJS check', () => {
  assert.equal(ts.formatDiagnostics(ts.getPreEmitDiagnostics(program), ts.createCompilerHost(options)), '');
});

test("every type of OpenAI's namespace is one of ours", () => {
  const [ours, theirs] = ['TechStoneAI', 'OpenAI'].map((name) => {
    const file = program.getSourceFile(fileNames.find((file) => file.endsWith('use.mts')));
    const symbol = checker.getSymbolsInScope(file, ts.SymbolFlags.Alias).find((symbol) => symbol.name === name);
    const namespace = checker.getAliasedSymbol(symbol);
    const types = checker.getExportsOfModule(namespace).filter(({ flags }) => !(flags & ts.SymbolFlags.Property));
    return types.map(({ name }) => name);
  });
  assert.ok(theirs.length > 200);
  assert.deepEqual(theirs.filter((name) => !ours.includes(name) && !NEW_IN_7.test(name) && name !== 'prototype'), []);
});
