import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A response of the fake kubectl. The first entry counts whose pattern matches the arguments. */
export interface Answer {
  /** Regular expression on the arguments, joined by spaces. */
  readonly when: string;
  readonly out?: string;
  readonly err?: string;
  readonly code?: number;
  /** Runs until it is killed, as a port-forward does. */
  readonly stays?: boolean;
}

/**
 * A program named kubectl in its own folder, to put on PATH. It writes its arguments, standard input and process id as JSON
 * lines to `calls.jsonl`.
 */
export const testKubectl = (answers: readonly Answer[]): { readonly folder: string; readonly calls: string } => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-kubectl-'));
  const calls = join(folder, 'calls.jsonl');
  writeFileSync(calls, '');
  const program = `#!${process.execPath}
const { appendFileSync, readFileSync } = require('node:fs');
const args = process.argv.slice(2).join(' ');
const input = args.includes('--filename -') ? readFileSync(0, 'utf8') : '';
appendFileSync(${JSON.stringify(calls)}, JSON.stringify({ args, input, pid: process.pid }) + '\\n');
const answer = ${JSON.stringify(answers)}.find(({ when }) => new RegExp(when).test(args))
  ?? { err: 'error: no answer for ' + args, code: 99 };
process.stdout.write(answer.out ?? '');
process.stderr.write(answer.err ?? '');
if (answer.stays) setInterval(() => undefined, 1000);
else process.exitCode = answer.code ?? 0;
`;
  writeFileSync(join(folder, 'kubectl'), program);
  chmodSync(join(folder, 'kubectl'), 0o755);
  return { folder, calls };
};
