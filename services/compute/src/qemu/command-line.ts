import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { QemuTerms } from '../guest/plan.ts';
import type { Workload } from '../guests/vm-host.ts';

/** The program, from the Debian package `qemu-system-x86`. */
export const qemuProgram = 'qemu-system-x86_64';

/** Files of the image folder; `accelerator` holds what `interlock image build` found to work here. */
export const imageFiles = { kernel: 'vmlinux', initrd: 'initrd', accelerator: 'accelerator' } as const;

/** Ports for disks that are added while QEMU runs: the OS disk and the data disks. */
export const portCount = 9;

/** Descriptors that QEMU inherits: sockets for QMP, serial console and agent, then kernel and initrd. */
export const inherited = { qmp: 3, console: 4, agent: 5, kernel: 6, initrd: 7 } as const;

/** User 65534, who owns no file on any Linux: what QEMU runs as where this service is root. */
const overflowUser = 65_534;

/** A program with its arguments. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** What a machine boots with, besides its disks. Block devices come over QMP: their tokens are no arguments. */
export interface MachineBoot {
  /** In the command line, so that the process is found by it. */
  readonly folder: string;
  readonly machineId: string;
  readonly workload: Workload;
  readonly terms: QemuTerms;
}

/** The command that starts QEMU with the processors stopped. */
export const qemuCommand = ({ folder, machineId, workload, terms }: MachineBoot): Command => {
  const accelerator = acceleratorOf(terms.imageFolder);
  const append = [
    'console=ttyS0 quiet panic=-1',
    // On a busy host the emulated timer is late. Its test at the boot would fail then, and the kernel would not come up.
    'no_timer_check tsc=reliable nowatchdog',
    `interlock.machine=${machineId}`,
    `interlock.workload=${workload.kind}`,
    `interlock.rate=${workload.ioPerSecond}`,
  ];
  const ports = Array.from({ length: portCount }, (_, n) => [
    '-device',
    `pcie-root-port,id=port${n},chassis=${n + 1},slot=${n + 1}`,
  ]);
  return {
    program: qemuProgram,
    args: [
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none', '-no-reboot', '-S'],
      ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
      // This firmware starts a kernel in 0.6 s of emulation. SeaBIOS takes 1.5 s.
      ...['-bios', 'qboot.rom'],
      ...['-machine', 'q35', '-accel', accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi'],
      ...['-cpu', accelerator === 'kvm' ? 'host' : 'max'],
      ...['-smp', String(terms.cpus), '-m', String(terms.memoryMib)],
      ...['-kernel', `/proc/self/fd/${inherited.kernel}`, '-initrd', `/proc/self/fd/${inherited.initrd}`],
      ...['-append', append.join(' ')],
      ...['-chardev', `socket,id=qmp,fd=${inherited.qmp}`, '-mon', 'chardev=qmp,mode=control'],
      ...['-chardev', `socket,id=console,fd=${inherited.console}`, '-serial', 'chardev:console'],
      ...['-device', 'virtio-serial-pci', '-chardev', `socket,id=agent,fd=${inherited.agent}`],
      ...['-device', 'virtserialport,chardev=agent,name=interlock.agent'],
      ...ports.flat(),
      ...['-name', folder.replaceAll(',', ',,')],
    ],
  };
};

/**
 * The same command without privileges: as root it runs as user 65534, in the group of the disk host's socket. It ends with this
 * process, however that ends.
 * @param socket path of the disk host's socket
 */
export const withoutPrivileges = ({ program, args }: Command, socket: string, isRoot: boolean): Command => {
  const identity = isRoot
    ? ['--reuid', String(overflowUser), '--regid', String(statSync(socket).gid), '--clear-groups']
    : [];
  return { program: 'setpriv', args: [...identity, '--no-new-privs', '--pdeathsig', 'KILL', program, ...args] };
};

/** What `interlock image build` found to work on this machine. */
const acceleratorOf = (imageFolder: string): 'kvm' | 'tcg' =>
  readFileSync(join(imageFolder, imageFiles.accelerator), 'utf8').trim() === 'kvm' ? 'kvm' : 'tcg';
