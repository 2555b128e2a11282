/**
 * Writes libs/contracts/src from the .proto files: TypeScript, the file descriptor set for gRPC reflection, the same set
 * package by package for the command line, the comments of methods and fields for its help, and where requests have timestamps.
 *
 * Plain JavaScript, because it runs on the system's Node before anything of the project can. The new tree is made
 * beside the old one and put in its place only when it is whole, so that a failed run leaves the old one as it was.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { commentsIn } from './comments.mjs';
import { timestampsIn } from './timestamps.mjs';

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
  writeFileSync(join(next, 'package-descriptors.ts'), packageDescriptorsModule());
  const documented = join(scratch, 'documented.json');
  runBuf('build', '--as-file-descriptor-set', '--output', documented);
  const set = JSON.parse(readFileSync(documented, 'utf8'));
  writeFileSync(join(next, 'comments.ts'), commentsModule(set));
  writeFileSync(join(next, 'timestamps.ts'), timestampsModule(set));

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

/** The module with one set for each folder of interlock/: a reader of one package does not decode the others. */
function packageDescriptorsModule() {
  const folders = readdirSync(join(protos, 'interlock')).sort();
  const entries = folders.map((folder) => {
    const file = join(scratch, `${folder}.binpb`);
    runBuf(
      'build',
      '--as-file-descriptor-set',
      '--exclude-source-info',
      '--path',
      `interlock/${folder}`,
      '--output',
      file,
    );
    return `  ${folder}: '${readFileSync(file).toString('base64')}',\n`;
  });
  return `/** By package (\`key_vault\`): its .proto files and what they import, as an encoded google.protobuf.FileDescriptorSet in base64. */
export const packageDescriptors: Readonly<Record<string, string>> = {
${entries.join('')}};
`;
}

/** The module with the comments. They are one text, because V8 reads a long JSON text faster than an object literal. */
function commentsModule(set) {
  const json = JSON.stringify(Object.fromEntries(commentsIn(set)));
  return `/** JSON of an object: comment by full name (\`package.Message.field\`, \`package.Service/Method\`). */
export const commentsJson: string = ${JSON.stringify(json)};
`;
}

/** The module that says where requests have timestamps, so that a service need not read the descriptors when it starts. */
function timestampsModule(set) {
  return `/** One field on the way to a timestamp. */
export interface FieldStep {
  /** As in the contract. */
  readonly name: string;
  /** As in generated code; in a oneof the value of $case. */
  readonly member: string;
  /** The oneof that has the field, as in generated code. */
  readonly oneof?: string;
}

/** By path (\`/package.Service/Method\`): for each timestamp in the request the fields that lead to it. Methods without one are missing. */
export const requestTimestamps: Readonly<Record<string, readonly (readonly FieldStep[])[]>> = ${JSON.stringify(timestampsIn(set), undefined, 2)};
`;
}
