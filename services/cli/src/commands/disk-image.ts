import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { ImageProblem, UsageError } from '../problems.ts';
import type { Session } from '../session/session.ts';
import { type Access, type DataOptions, withAccess } from './disk-data.ts';
import type { ImageFormat } from './image-format.ts';

export interface ImageOptions extends DataOptions {
  /** Path of the image. */
  readonly file: string;
  /** By default that of the file's name: `.qcow2`, otherwise raw. The content decides nothing: it may come from a stranger. */
  readonly format: ImageFormat | undefined;
}

/** Writes an image to the beginning of a disk, over whatever is there. @throws UsageError, ImageProblem, as BeginAccess */
export async function importImage({ file, format, ...options }: ImageOptions, session: Session): Promise<void> {
  const from = readable(file);
  const of = format ?? formatOf(file);
  const { 'virtual-size': size = 0 } = JSON.parse(await qemuImg(['info', '-f', of, '--output=json', from], false));
  await withAccess('WRITE', options, session, async (access) => {
    if (size > access.sizeBytes) {
      throw new UsageError(`${file} holds ${size} bytes, and the disk ${access.sizeBytes}: grow the disk first`);
    }
    const disk = ['--target-image-opts', '-n', '-t', 'writeback', from, blockDevice(access)];
    await qemuImg(['convert', '-f', of, ...disk], true);
  });
  session.terminal.err(`${size} bytes imported and flushed`);
}

/** Writes the content of a disk to a new image. @throws UsageError, ImageProblem, as BeginAccess */
export async function exportImage({ file, format, ...options }: ImageOptions, session: Session): Promise<void> {
  if (statSync(file, { throwIfNoEntry: false }) !== undefined) {
    throw new UsageError(`${file} exists: name a new file, or remove it`);
  }
  await withAccess('READ', options, session, async (access) => {
    const to = ['-O', format ?? formatOf(file), blockDevice(access), resolve(file)];
    await qemuImg(['convert', '--image-opts', ...to], true);
  });
  session.terminal.err(`${statSync(file).size} bytes in ${file}; the content is not encrypted there`);
}

const formatOf = (file: string): ImageFormat => (file.endsWith('.qcow2') ? 'qcow2' : 'raw');

/** @throws UsageError */
const readable = (file: string): string => {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) return resolve(file);
  throw new UsageError(`${file} is no file: name an image`);
};

/** The disk as qemu-img names it. @throws ImageProblem if the disk host has no socket on this machine */
const blockDevice = ({ nbdAddress, exportName }: Access): string => {
  const [, path] = /^unix:(.+)$/.exec(nbdAddress) ?? [];
  if (path !== undefined)
    return `driver=raw,file.driver=nbd,file.server.type=unix,file.server.path=${path},file.export=${exportName}`;
  throw new ImageProblem(
    nbdAddress === '' ? 'the disk host serves no block devices' : `the disk host serves block devices at ${nbdAddress}`,
    'Images are copied over a Unix socket: set NBD_LISTEN of disk to unix:/path, and run the command on its machine',
  );
};

/** Runs qemu-img. @param isShown whether its progress goes to a terminal @returns its output @throws ImageProblem */
const qemuImg = async (args: readonly string[], isShown: boolean): Promise<string> => {
  const [verb = '', ...rest] = args;
  const isProgress = isShown && process.stderr.isTTY === true;
  const child = spawn('qemu-img', [verb, ...(isProgress ? ['-p'] : []), ...rest], {
    stdio: ['ignore', isProgress ? 'inherit' : 'pipe', 'pipe'],
  });
  const texts = { out: '', error: '' };
  child.stdout?.on('data', (bytes: Buffer) => {
    texts.out += bytes;
  });
  child.stderr?.on('data', (bytes: Buffer) => {
    texts.error += bytes;
  });
  try {
    const [status] = await once(child, 'close');
    if (status === 0) return texts.out;
    throw new ImageProblem(
      `qemu-img ${verb} failed: ${texts.error.trim().split('\n').at(-1)}`,
      'Check file and format',
    );
  } catch (error) {
    if (error instanceof ImageProblem) throw error;
    throw new ImageProblem('qemu-img could not be started', 'Install the package qemu-utils', error);
  }
};
