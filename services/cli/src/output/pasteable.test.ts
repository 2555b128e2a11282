import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '../commands/run.ts';
import { pasteable, programOfBuild } from './pasteable.ts';
import { openTerminal } from './terminal.ts';

test('pasteable puts the program name of this installation into commands and changes nothing else', () => {
  const text =
    'hint: interlock key enable kv1/k1, or: interlock --context x status. npx interlock vm list; the interlock of a cloud; a/interlock vm';
  assert.equal(pasteable(text, 'interlock'), text);
  assert.equal(
    pasteable(text, 'npx interlock'),
    'hint: npx interlock key enable kv1/k1, or: npx interlock --context x status. npx interlock vm list; the interlock of a cloud; a/interlock vm',
  );
});

test('commands of a clone start with npx unless its bin folder is on the PATH; installed ones do not', () => {
  const build = { version: '0.1.0', revision: undefined };
  assert.equal(programOfBuild({ ...build, clone: '/c' }, '/c/services/cli/interlock.mjs'), 'npx interlock');
  assert.equal(programOfBuild({ ...build, clone: '/c' }, '/c/services/cli/bin/interlock'), 'interlock');
  assert.equal(programOfBuild({ ...build, clone: undefined }, '/usr/bin/interlock'), 'interlock');
});

test('errors and help of a clone can be pasted', async () => {
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  const terminal = { ...openTerminal(), out: say, err: say };
  assert.equal(await run(['context', 'use', 'x'], {}, terminal, 'npx interlock'), 2);
  assert.match(said.join('\n'), /: npx interlock context add x adds it/);
  said.length = 0;
  assert.equal(await run(['--help'], {}, terminal, 'npx interlock'), 0);
  assert.match(said.join('\n'), /^ {2}npx interlock key disable kv1\/k1$/m);
});
