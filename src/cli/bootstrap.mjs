/**
 * From a fresh clone to a running command, with nothing but Node: `node src/cli/bootstrap.mjs <command> [options]`.
 * Plain JavaScript without dependencies, because it is what installs them.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const OLDEST_NODE = [20, 19];

const STDERR = 2;
const PARENT_CHECK_MS = 500;

/** The pages are built from these; younger than the build, they make it stale. */
const BUILD_INPUTS = ['src', 'shaders', 'public', 'vite.config.ts', 'package-lock.json'];

const COMMANDS = {
  chaos: [installPackages, buildPages, runTypeScript('../../tests/chaos/chaos-main.ts')],
  'chaos-peer': [runTypeScript('../../tests/chaos/chaos-peer.ts')],
  kill: [installPackages, buildPages, runTypeScript('../../tests/chaos/kill-main.ts')],
  restart: [installPackages, buildPages, runTypeScript('../../tests/chaos/restart-main.ts')],
  start: [installPackages, buildPages, runTypeScript('./main.ts', 'serve')],
  skein: [installPackages, runTypeScript('./main.ts')],
  bench: [installPackages, runTypeScript('../../tests/bench/main.ts')],
  sim: [installPackages, runTypeScript('../../tests/sim/main.ts')],
  churn: [installPackages, buildPages, runTypeScript('../../tests/churn/main.ts')],
  turn: [installPackages, buildPages, runTypeScript('../../tests/turn/main.ts')],
  fuzz: [installPackages, runTypeScript('../../tests/fuzz/main.ts')],
  hostile: [installPackages, runTypeScript('../../tests/hostile/main.ts')],
  'hostile-peer': [runTypeScript('../../tests/hostile/hostile-peer.ts')],
  demo: [installPackages, buildPages, runTypeScript('../../tests/demo/main.ts')],
  test: [installPackages, runTests],
};

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  fail(
    `Skein needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.versions.node}. See https://nodejs.org.`,
  );
}

/** npm notes in node_modules when it last installed; a lock file younger than that wants another install. */
function installPackages() {
  const installed = modifiedMs(join(ROOT, 'node_modules', '.package-lock.json'));
  if (installed >= modifiedMs(join(ROOT, 'package-lock.json'))) return;
  say('Installing packages (npm ci) …');
  const npm = process.env.npm_execpath;
  // Development packages are wanted even where NODE_ENV says production: the build and the checks are made of them.
  const options = ['ci', '--include=dev'];
  if (npm === undefined) run('npm', options, { shell: process.platform === 'win32' });
  else run(process.execPath, [npm, ...options]);
}

function buildPages() {
  const built = modifiedMs(join(ROOT, 'dist', 'index.html'));
  if (BUILD_INPUTS.every((input) => newestMs(join(ROOT, input)) <= built)) return;
  say('Building the pages …');
  run(process.execPath, [join('node_modules', 'vite', 'bin', 'vite.js'), 'build', '--logLevel', 'warn']);
}

/** Runs a program in this process, so that signals and exit codes need nobody to pass them on. */
function runTypeScript(program, ...leadingArguments) {
  return async (options) => {
    const { register: registerTypeScript } = await import('tsx/esm/api');
    registerTypeScript();
    await import('./wgsl-loader.mjs');
    if (process.env.npm_lifecycle_event !== undefined) endWithParent();
    process.argv = [process.execPath, program, ...leadingArguments, ...options];
    await import(program);
  };
}

/** npm puts a shell between itself and this process, and the shell dies of SIGTERM without passing it on. */
function endWithParent() {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, PARENT_CHECK_MS);
  watch.unref();
}

function runTests(options) {
  const program = join('tests', 'rig', 'run-all.ts');
  run(process.execPath, ['--import', 'tsx', program, ...options], { stdio: 'inherit' });
}

/** What a step prints goes to stderr: stdout belongs to the command itself, whose output may be JSON. */
function run(command, args, options = {}) {
  const stdio = ['inherit', STDERR, STDERR];
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio, ...options });
  if (error !== undefined) fail(`Cannot run ${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Milliseconds since 1970, or 0 for what does not exist. */
function modifiedMs(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function newestMs(path) {
  if (!existsSync(path)) return 0;
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(mtimeMs, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

function say(line) {
  console.error(line);
}

function fail(line) {
  say(line);
  process.exit(1);
}

const [command = '', ...options] = process.argv.slice(2);
if (!(command in COMMANDS))
  fail(`Usage: node src/cli/bootstrap.mjs ${Object.keys(COMMANDS).join('|')} [options]`);
checkNode();
for (const step of COMMANDS[command]) await step(options);
