import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageFiles, qemuProgram } from './command-line.ts';

/** Behaviour of the fake QEMU when it boots. */
export type FakeMode =
  /** Boots, and shuts down when asked. */
  | 'boots'
  /** Boots, and ignores the power button. */
  | 'ignores the power button'
  | 'refuses disks'
  | 'panics'
  /** Boots, then closes its QMP connection and runs on. */
  | 'closes QMP'
  /** Boots, then a write fails twice. */
  | 'freezes';

/** A program in place of QEMU: it speaks QMP as far as a machine needs it, and boots nothing. */
export interface FakeQemu {
  /** PATH with the program first. */
  readonly path: string;
  readonly imageFolder: string;
  /** An address of block devices; nothing listens there. */
  readonly nbdAddress: string;
  mode(mode: FakeMode): void;
  remove(): void;
}

export const fakeQemu = (): FakeQemu => {
  // As root, machines run as another user, who may not have access to TMPDIR.
  const folder = mkdtempSync('/tmp/interlock-qemu-');
  chmodSync(folder, 0o755);
  const [programs, imageFolder] = [join(folder, 'bin'), join(folder, 'image')];
  for (const made of [programs, imageFolder]) mkdirSync(made);
  for (const file of Object.values(imageFiles)) writeFileSync(join(imageFolder, file), 'tcg');
  writeFileSync(join(folder, 'disk.sock'), '');
  writeFileSync(join(programs, qemuProgram), program(join(folder, 'mode')), { mode: 0o755 });
  return {
    path: `${programs}:${process.env.PATH ?? ''}`,
    imageFolder,
    nbdAddress: `unix:${join(folder, 'disk.sock')}`,
    mode: (mode) => writeFileSync(join(folder, 'mode'), mode),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
};

const program = (modeFile: string): string => `#!/usr/bin/env node
const net = require('node:net');
const mode = require('node:fs').readFileSync(${JSON.stringify(modeFile)}, 'utf8');
const [qmp, terminal, agent] = [3, 4, 5].map((fd) => new net.Socket({ fd }));
const send = (message) => qmp.write(JSON.stringify(message) + '\\n');
const event = (name, data = {}) => send({ event: name, data });
const exit = () => qmp.end(() => process.exit(0));
let status = 'prelaunch';
let failures = mode === 'freezes' ? 2 : 0;
const stop = () => {
  status = 'io-error';
  event('BLOCK_IO_ERROR', { device: '', 'node-name': 'os', operation: 'write', reason: 'Input/output error' });
  event('STOP');
};
const run = () => {
  if (mode === 'panics') {
    terminal.write('interlock: no OS disk appeared\\nKernel panic - not syncing\\n');
    event('SHUTDOWN', { guest: true, reason: 'guest-reset' });
    return setTimeout(exit, 50);
  }
  if (status === 'prelaunch') agent.write('up\\n');
  status = 'running';
  if (mode === 'closes QMP') setTimeout(() => qmp.destroy(), 200);
  if (failures > 0) {
    failures -= 1;
    setTimeout(stop, 20);
  }
};
const perform = ({ execute, arguments: args }) => {
  if (execute === 'query-status') return { return: { status } };
  if (execute === 'blockdev-add' && mode === 'refuses disks') return { error: { class: 'GenericError', desc: 'access is denied' } };
  if (execute === 'cont') setImmediate(run);
  if (execute === 'device_del') setImmediate(() => event('DEVICE_DELETED', { device: args.id }));
  if (execute === 'system_powerdown' && mode !== 'ignores the power button') {
    event('SHUTDOWN', { guest: true, reason: 'guest-shutdown' });
    setTimeout(exit, 50);
  }
  return { return: {} };
};
send({ QMP: {} });
require('node:readline').createInterface({ input: qmp }).on('line', (line) => {
  const command = JSON.parse(line);
  send({ ...perform(command), id: command.id });
});
setInterval(() => undefined, 1_000);
`;
