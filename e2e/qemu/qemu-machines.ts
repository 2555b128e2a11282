import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openHistory } from '@interlock/lab/judge/journal/history';
import type { Io } from '@interlock/lab/judge/journal/journal';
import { guestImageFolder } from '../../deploy/guest-image/folder.ts';
import { guestFiles } from '../../services/compute/src/guest/plan.ts';
import { imageFiles, qemuProgram } from '../../services/compute/src/qemu/command-line.ts';

/** Why machines in QEMU cannot run here; undefined if they can. */
export const whyNoQemu = (env: NodeJS.ProcessEnv): string | undefined => {
  const folders = (env.PATH ?? '').split(':');
  if (!folders.some((folder) => existsSync(join(folder, qemuProgram)))) {
    return `skipped: ${qemuProgram} is not installed (apt-get install qemu-system-x86)`;
  }
  const image = guestImageFolder(env);
  if (existsSync(join(image, imageFiles.accelerator))) return undefined;
  return `skipped: there is no guest image in ${image} (npx interlock image build)`;
};

/** The files of a machine in QEMU. */
export interface QemuTraces {
  /** Reads and writes that its guest reported. */
  journal(): readonly Io[];
  /** The output of its serial console. */
  console(): string;
  /** Process id of its QEMU; undefined if none runs. */
  pid(): number | undefined;
}

/** @param guests folder of the guests of a cloud @param machine full name */
export const tracesOf = (guests: string, machine: string): QemuTraces => {
  const folder = join(guests, ...machine.split('/'));
  const textOf = (file: string): string =>
    existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : '';
  return {
    journal: openHistory(guests, [machine]),
    console: () => textOf(guestFiles.console),
    pid: () => {
      const pid = Number(textOf(guestFiles.qemuPid));
      const command = pid > 0 && existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';
      return command.split('\0').includes(folder) ? pid : undefined;
    },
  };
};

/** Number of the newest record of a disk whose fsync returned; 0 if there is none. */
export const newestRecord = (journal: readonly Io[], disk: string): number =>
  journal.findLast((io) => io.disk === disk && io.op === 'write' && io.ok)?.seq ?? 0;
