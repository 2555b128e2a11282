import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OutputProblem } from '../problems.ts';
import { openTerminal } from './terminal.ts';

const module = JSON.stringify(new URL('./terminal.ts', import.meta.url).href);
const script = (program: string) =>
  `const { openTerminal } = await import(${module}); const terminal = openTerminal(); ${program}`;
/** A hundred thousand lines: more than any pipe holds. */
const lines = script(`process.stdout; for (let n = 0; n < 100_000; n += 1) terminal.out('line ' + n);`);
const bytes = script('for (let n = 0; n < 1_000; n += 1) await terminal.outBytes(Buffer.alloc(65_536));');
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const node = (text: string) => `${quoted(process.execPath)} --input-type=module --eval ${quoted(text)}`;

test('a closed pipe ends the command with 141 and no message', () => {
  for (const [what, text] of Object.entries({ lines, bytes })) {
    const { stdout, stderr } = spawnSync('bash', [
      '-c',
      `${node(text)} | head -c 10 >/dev/null; echo "\${PIPESTATUS[0]}"`,
    ]);
    assert.deepEqual([what, String(stdout).trim(), String(stderr)], [what, '141', '']);
  }
});

test('work registered before the end is also done when the pipe is closed', () => {
  const endings = JSON.stringify(new URL('../session/endings.ts', import.meta.url).href);
  const act = `(await import(${endings})).beforeEnd(async () => { await new Promise((done) => setTimeout(done, 10)); console.error('tidy'); });`;
  for (const [what, text] of Object.entries({ lines, bytes })) {
    const { stdout, stderr } = spawnSync('bash', [
      '-c',
      `${node(`${act} ${text}`)} | head -c 10 >/dev/null; echo "\${PIPESTATUS[0]}"`,
    ]);
    assert.deepEqual([what, String(stdout).trim(), String(stderr)], [what, '141', 'tidy\n']);
  }
});

test('an unfinished file is removed when the command is terminated', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-terminal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = (name: string) => JSON.stringify(join(folder, name));
  const end = `process.kill(process.pid, 'SIGTERM'); setInterval(() => undefined, 1_000);`;
  const pieces = `(async function* () { yield Buffer.from('half'); ${end} await new Promise(() => undefined); })()`;
  const programs = [
    `terminal.newFile(${path('secret')}); ${end}`,
    `await terminal.writeFile(${path('image')}, ${pieces});`,
  ];
  for (const program of programs) {
    const { status } = spawnSync(process.execPath, ['--input-type=module', '--eval', script(program)]);
    assert.deepEqual([status, readdirSync(folder)], [143, []]);
  }
});

test('a slow reader gets every line', () => {
  const read = execFileSync('bash', ['-c', `${node(lines)} | (sleep 0.5; wc -l)`]);
  assert.equal(String(read).trim(), '100000');
});

test('a file is written piece by piece, and replaces an existing one only when it is complete', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-terminal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { writeFile } = openTerminal();
  const path = join(folder, 'image');
  writeFileSync(path, 'before');
  const sizes: number[] = [];
  const pieces = async function* (count: number, failure?: Error) {
    for (let n = 0; n < count; n += 1) {
      yield Buffer.alloc(1_000, n);
      // Each piece is written before the next one is read.
      sizes.push(statSync(`${path}.part`).size);
    }
    if (failure !== undefined) throw failure;
  };
  await assert.rejects(writeFile(path, pieces(2, new Error('refused'))), /^Error: refused$/);
  assert.deepEqual([String(readFileSync(path)), readdirSync(folder)], ['before', ['image']]);
  await writeFile(path, pieces(3));
  assert.deepEqual(sizes, [1_000, 2_000, 1_000, 2_000, 3_000]);
  const { size, mode } = statSync(path);
  assert.deepEqual([size, mode & 0o777, readdirSync(folder)], [3_000, 0o600, ['image']]);
  await writeFile('/dev/null', pieces(0));
  await assert.rejects(writeFile(folder, pieces(0)), /is a folder$/);
});

test('a new file has mode 0600 and replaces no other; an error says why a file cannot be created', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-terminal-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { newFile, writeFile } = openTerminal();
  const path = join(folder, 'secret');
  newFile(path).discard();
  assert.equal(existsSync(path), false);
  newFile(path).write(Buffer.from('once'));
  assert.equal(statSync(path).mode & 0o777, 0o600);
  const problems = [
    [path, /secret exists and is kept$/, /^name another file/],
    [folder, /is a folder$/, /^name a file in it$/],
    [join(folder, 'none', 'x'), /^the folder of \S+ does not exist$/, /^mkdir -p \S+none$/],
    [join(path, 'x'), /cannot be written: ENOTDIR/, /^name a file that you may write$/],
  ] as const;
  for (const [where, message, help] of problems)
    assert.throws(
      () => newFile(where),
      (error) => error instanceof OutputProblem && message.test(error.message) && help.test(error.help),
      where,
    );
  assert.equal(String(readFileSync(path)), 'once');
  newFile('/dev/null').discard();
  const none = async function* () {};
  await assert.rejects(
    writeFile(join(folder, 'none', 'x'), none()),
    /^OutputProblem: the folder of \S+none\/x does not exist$/,
  );
});

test('a full device is reported in one line without a stack, for lines and bytes', {
  skip: !existsSync('/dev/full'),
}, () => {
  const caught = (program: string) =>
    script(
      `try { ${program} } catch (error) { terminal.err(error.name + ': ' + error.message); process.exitCode = 1; }`,
    );
  for (const program of ["terminal.out('a line');", 'await terminal.outBytes(Buffer.alloc(65_536));']) {
    const { status, stderr } = spawnSync('bash', ['-c', `${node(caught(program))} > /dev/full`]);
    assert.match(
      String(stderr),
      /^OutputProblem: standard output cannot be written: ENOSPC: no space left on device[^\n]*\n$/,
    );
    assert.equal(status, 1);
  }
});

test('a file on a full device is named, with what to do', { skip: !existsSync('/dev/full') }, async () => {
  const { writeFile } = openTerminal();
  const full = join(mkdtempSync(join(tmpdir(), 'interlock-')), 'full');
  symlinkSync('/dev/full', full);
  const pieces = async function* () {
    yield Buffer.alloc(10);
  };
  await assert.rejects(writeFile(full, pieces()), {
    message: `no space left for ${full}`,
    help: 'free some space, or name a file elsewhere',
  });
});

test('Ctrl-C during a wait says that the operation continues and how to look at it, and ends with 130', () => {
  const interruptible = JSON.stringify(new URL('../session/endings.ts', import.meta.url).href);
  const program = `
    const { interruptible } = await import(${interruptible});
    setInterval(() => undefined, 1_000);
    setTimeout(() => process.kill(process.pid, 'SIGINT'), 0);
    await interruptible('vm show vm1', terminal, () => new Promise(() => undefined));`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script(program)]);
  assert.equal(
    String(stderr),
    'interrupted: the operation continues in the cloud; interlock vm show vm1 shows its state\n',
  );
  assert.equal(status, 130);
});

test('output and errors show escapes in place of what a terminal would obey; a screen is written as it is', () => {
  const text = JSON.stringify('vm\u001b[2J\u0007\r\u009b1m\u202e\n\ttwo');
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      script(`terminal.out(${text}); terminal.err(${text}); terminal.screen('\u001b[H');`),
    ],
    { encoding: 'utf8' },
  );
  const shown = 'vm\\u001b[2J\\u0007\\u000d\\u009b1m\\u202e\n\ttwo\n';
  assert.deepEqual([stdout, stderr], [`${shown}\u001b[H\n`, shown]);
});

test('readFile reads standard input and regular files, and refuses a device at once', () => {
  const read = `for (const path of ['-', '/dev/zero']) try { terminal.out(String(terminal.readFile(path))); } catch ({ name, message }) { terminal.out(name + ': ' + message); }`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script(read)], {
    encoding: 'utf8',
    input: 'piped',
  });
  assert.match(stdout, /^piped\nUsageError: \/dev\/zero is a device; only regular files are read/);
});
