/**
 * Writes libs/contracts/src from the .proto files: TypeScript, and the file descriptor set for gRPC reflection.
 *
 * Plain JavaScript, because it runs on the system's Node before anything of the project can. The new tree is made
 * beside the old one and put in its place only when it is whole, so that a failed run leaves the old one as it was.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const protos = fileURLToPath(new URL('.', import.meta.url));
const buf = fileURLToPath(new URL('../node_modules/.bin/buf', import.meta.url));
const contracts = fileURLToPath(new URL('../libs/contracts/', import.meta.url));
const scratch = join(contracts, '.interlock', `generate-${process.pid}`);

mkdirSync(scratch, { recursive: true });
try {
  // The template writes to ../libs/contracts/src, seen from the folder given here.
  runBuf('generate', '--output', join(scratch, 'proto'));
  const next = join(scratch, 'libs/contracts/src');
  const descriptors = join(scratch, 'descriptors.binpb');
  runBuf('build', '--as-file-descriptor-set', '--exclude-source-info', '--output', descriptors);
  writeFileSync(join(next, 'descriptors.ts'), descriptorsModule(readFileSync(descriptors)));

  const current = join(contracts, 'src');
  if (existsSync(current)) renameSync(current, join(scratch, 'previous'));
  renameSync(next, current);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** Runs buf in this folder; its messages go to the caller's terminal. Throws when it fails. */
function runBuf(...args) {
  execFileSync(buf, args, { cwd: protos, stdio: 'inherit' });
}

/** The module that holds the set. Embedded and not read from a file, so that importing it opens nothing. */
function descriptorsModule(bytes) {
  return `/** Every .proto file of the project and what they import, as one encoded google.protobuf.FileDescriptorSet: what gRPC reflection answers from. */
export const fileDescriptorSet: Uint8Array = Buffer.from(
  '${bytes.toString('base64')}',
  'base64',
);
`;
}
