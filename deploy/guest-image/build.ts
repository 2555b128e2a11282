import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, globSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { imageFiles, qemuProgram } from '../../services/compute/src/qemu/command-line.ts';
import { LauncherError } from '../local/data-folder.ts';
import { guestImageFolder } from './folder.ts';
import { uncompressedKernel } from './kernel.ts';
import { busyboxIn, kernelIn, makeTree, packages } from './tree.ts';

/** Size of the root file system of `root.raw`, in bytes. It does not grow; the disk to which it is written may be larger. */
const rootBytes = 64 * 1024 * 1024;
/** How long a guest may take to boot with KVM, in milliseconds. Where KVM does not work, the boot may hang. */
const probeMs = 15_000;

/**
 * Builds the files from which machines in QEMU boot, from Debian packages only: kernel, initial RAM file system, and `root.raw`,
 * the same root file system for `disk create --from-image`.
 */
const build = (out: string): void => {
  const work = mkdtempSync(join(tmpdir(), 'interlock-image-'));
  try {
    const [unpacked, tree] = [join(work, 'unpacked'), join(work, 'tree')];
    const versions = unpackPackages(work, unpacked);
    makeTree(unpacked, tree);
    mkdirSync(out, { recursive: true });
    writeFileSync(join(out, imageFiles.kernel), uncompressedKernel(kernelIn(unpacked)));
    writeFileSync(join(out, imageFiles.initrd), initrdOf(tree, busyboxIn(unpacked)));
    makeRoot(tree, join(out, 'root.raw'));
    const accelerator = findAccelerator(out);
    writeFileSync(join(out, imageFiles.accelerator), `${accelerator}\n`);
    writeFileSync(join(out, 'packages.txt'), `${versions.join('\n')}\n`);
    console.log(`${out}: ${imageFiles.kernel}, ${imageFiles.initrd}, root.raw; machines use ${accelerator}`);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
};

/** Downloads the packages and unpacks them. @returns names with versions @throws LauncherError */
const unpackPackages = (work: string, unpacked: string): readonly string[] => {
  const all = [kernelPackage(), ...packages];
  console.log(`downloading ${all.join(', ')}`);
  run('apt-get', ['download', '-qq', ...all], work);
  const files = globSync('*.deb', { cwd: work });
  for (const file of files) run('dpkg-deb', ['-x', file, unpacked], work);
  return files.map((file) => file.replace(/\.deb$/, '')).toSorted();
};

/** The kernel package on which Debian's metapackage depends. */
const kernelPackage = (): string => {
  const text = run('apt-cache', ['depends', 'linux-image-cloud-amd64'], '/');
  const [, name] = /Depends: (linux-image-\S+)/.exec(text) ?? [];
  if (name !== undefined) return name;
  throw new LauncherError('apt-cache knows no linux-image-cloud-amd64: run apt-get update, on Debian for x64');
};

/** A cpio archive of the tree, as the kernel unpacks it. */
const initrdOf = (tree: string, busybox: string): Buffer =>
  execFileSync('/bin/sh', ['-c', `find . | "${busybox}" cpio -o -H newc`], {
    cwd: tree,
    maxBuffer: 256 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  });

const makeRoot = (tree: string, path: string): void => {
  rmSync(path, { force: true });
  writeFileSync(path, '');
  truncateSync(path, rootBytes);
  run('mke2fs', ['-q', '-t', 'ext4', '-F', '-d', tree, path], '/');
};

/** Boots the guest with KVM to find out whether KVM works on this machine: the device alone does not prove it. */
const findAccelerator = (out: string): 'kvm' | 'tcg' => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'tcg';
  }
  const boot = ['-bios', 'qboot.rom', '-kernel', join(out, imageFiles.kernel), '-initrd', join(out, imageFiles.initrd)];
  const machine = ['-nodefaults', '-display', 'none', '-no-reboot', '-machine', 'q35', '-m', '256'];
  const probe = spawnSync(
    qemuProgram,
    [...machine, '-accel', 'kvm', '-cpu', 'host', ...boot, '-append', 'quiet panic=-1 interlock.probe'],
    { stdio: 'ignore', timeout: probeMs, killSignal: 'SIGKILL' },
  );
  return probe.status === 0 ? 'kvm' : 'tcg';
};

/** @returns the standard output @throws LauncherError with what the program printed */
const run = (program: string, args: readonly string[], cwd: string): string => {
  const { error, status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (error !== undefined) throw new LauncherError(`${program} could not be started: ${error.message}`);
  if (status === 0) return stdout;
  throw new LauncherError(`${program} ${args.join(' ')} failed with status ${status}: ${stderr.trim()}`);
};

const [, , out] = process.argv;
try {
  build(out === undefined ? guestImageFolder(process.env) : resolve(out));
} catch (error) {
  if (!(error instanceof LauncherError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
