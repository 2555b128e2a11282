import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clients } from '../cloud/clients.ts';

const guestMain = fileURLToPath(new URL('../../services/compute/src/guest/main.ts', import.meta.url));

/** A guest of the test's own on a disk without a machine. */
export interface OwnGuest {
  /** Asks it to shut down and waits until it is gone. */
  stop(): Promise<void>;
}

/**
 * Runs the guest program that compute runs, on direct access to a disk: real I/O beside a fleet of machines without guests.
 * @param machine under which name its journal lies below `folder`
 */
export const startOwnGuest = async (
  { disks }: Clients,
  request: {
    readonly disk: string;
    readonly machine: string;
    readonly folder: string;
    readonly authority: string;
  },
): Promise<OwnGuest> => {
  const { disk, machine, authority } = request;
  const folder = join(request.folder, ...machine.split('/'));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { accessToken, dataAddress } = await disks.beginAccess({
    name: disk,
    accessLevel: 'WRITE',
    durationSeconds: 600,
  });
  const open = {
    disk,
    lun: 0,
    isOs: false,
    sizeBytes: 2 ** 30,
    dataAddress,
    nbdAddress: '',
    accessToken,
    isContinued: existsSync(join(folder, 'io.jsonl')),
  };
  const plan = {
    vm: machine,
    machineId: machine,
    guest: 'PROCESS',
    authority,
    workload: { kind: 'WRITE_AND_VERIFY', ioPerSecond: 50, ioSizeBytes: 4_096 },
    disks: [open],
    generation: 1,
    parentPid: process.pid,
  };
  writeFileSync(join(folder, 'guest.json'), JSON.stringify(plan), { mode: 0o600 });
  const child = spawn(process.execPath, [guestMain, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended]);
  if (child.exitCode !== null) throw new Error(`the guest on ${disk} ended with status ${child.exitCode}`);
  return {
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await disks.endAccess({ name: disk });
    },
  };
};
