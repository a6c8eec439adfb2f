// Builds dist/: tsc for `import`, tsc for `require`. npm runs it as `prepare`, so on `npm install ./sdk/node` too:
// that makes a link to the folder, and installs nothing in one outside the project, so what is missing is fetched here.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const require = createRequire(import.meta.url);
const { devDependencies } = JSON.parse(readFileSync(`${here}/package.json`, 'utf8'));

async function compile(...options) {
  const command = [require.resolve('typescript/bin/tsc'), ...options];
  const [code] = await once(spawn(process.execPath, command, { cwd: here, stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(1);
}

function isInstalled() {
  try {
    require.resolve('openai');
    return require('typescript/package.json').version === devDependencies.typescript;
  } catch {
    return false;
  }
}

if (!isInstalled()) {
  // Said outright, because an outer `npm install -g` or `--omit=dev` reaches us through the environment. Without
  // scripts: ours is running already.
  const flags = ['--include=dev', '--global=false', '--ignore-scripts', '--no-audit', '--no-fund'];
  execFileSync('npm', ['ci', ...flags], { cwd: here, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
}

rmSync(`${here}/dist`, { recursive: true, force: true });
await Promise.all([
  // The same sources: they are checked once.
  compile('--outDir', 'dist/cjs'),
  compile('--outDir', 'dist/esm', '--module', 'esnext', '--moduleResolution', 'bundler', '--noCheck'),
]);
writeFileSync(`${here}/dist/cjs/package.json`, '{ "type": "commonjs" }\n');
writeFileSync(`${here}/dist/esm/package.json`, '{ "type": "module" }\n');
// As OpenAI's: what `require` returns is the client itself, with every export on it.
appendFileSync(
  `${here}/dist/cjs/index.js`,
  'module.exports = Object.defineProperties(exports.default, Object.getOwnPropertyDescriptors(exports));\n',
);
