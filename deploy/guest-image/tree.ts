import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, globSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Packages from which the image takes files, in addition to the kernel. */
export const packages = [
  ...['busybox-static', 'e2fsprogs', 'libext2fs2t64', 'libcom-err2', 'libblkid1', 'libuuid1', 'libc6'],
];

/** Kernel modules that the guest loads, in this order: disks, its port, and the power button. */
const modules = ['virtio_blk', 'virtio_console', 'button', 'evdev'];
/** Libraries that e2fsprogs loads. */
const libraries = ['libext2fs.so.2', 'libe2p.so.2', 'libcom_err.so.2', 'libblkid.so.1', 'libuuid.so.1', 'libc.so.6'];
const libraryFolder = 'lib/x86_64-linux-gnu';

/**
 * Copies the files of the guest: the initial RAM file system, which is the root file system as well.
 * @param unpacked folder with the contents of the packages
 * @param tree folder to create
 */
export const makeTree = (unpacked: string, tree: string): void => {
  for (const folder of ['bin', 'sbin', libraryFolder, 'lib64', 'modules', 'proc', 'sys', 'dev', 'run', 'disks']) {
    mkdirSync(join(tree, folder), { recursive: true });
  }
  const add = (from: string, to: string): void => {
    copyFileSync(from, join(tree, to));
    chmodSync(join(tree, to), 0o755);
  };
  const busybox = busyboxIn(unpacked);
  add(busybox, 'bin/busybox');
  symlinkSync('busybox', join(tree, 'bin/sh'));
  for (const program of ['mke2fs', 'e2fsck']) add(fileIn(unpacked, `**/sbin/${program}`), `sbin/${program}`);
  for (const library of libraries)
    add(fileIn(unpacked, `**/x86_64-linux-gnu/${library}`), `${libraryFolder}/${library}`);
  add(fileIn(unpacked, '**/ld-linux-x86-64.so.2'), 'lib64/ld-linux-x86-64.so.2');
  for (const script of ['disks.sh', 'guest.sh', 'workload.sh']) add(ownFile(script), `sbin/${script}`);
  add(ownFile('init.sh'), 'init');
  for (const [n, module] of modules.entries()) {
    // A module that is built into the kernel has no file.
    const [path] = globSync(`**/${module}.ko{,.xz}`, { cwd: unpacked });
    if (path === undefined) continue;
    const bytes = path.endsWith('.xz')
      ? execFileSync(busybox, ['xz', '-dc', join(unpacked, path)], { maxBuffer: 64 * 1024 * 1024 })
      : execFileSync('cat', [join(unpacked, path)], { maxBuffer: 64 * 1024 * 1024 });
    writeFileSync(join(tree, 'modules', `${n}-${module}.ko`), bytes);
  }
};

/** The kernel of the unpacked packages. */
export const kernelIn = (unpacked: string): string => fileIn(unpacked, 'boot/vmlinuz-*');

/** The BusyBox of the unpacked packages, which runs on the host as well. */
export const busyboxIn = (unpacked: string): string => fileIn(unpacked, '**/bin/busybox');

/** @throws Error if no package has it */
const fileIn = (unpacked: string, pattern: string): string => {
  const [path] = globSync(pattern, { cwd: unpacked });
  if (path === undefined) throw new Error(`no package of the guest image has ${pattern}`);
  return realpathSync(join(unpacked, path));
};

const ownFile = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
