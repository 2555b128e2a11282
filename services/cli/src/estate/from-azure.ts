import { estateFromAzure, printEstate } from '@interlock/experiment';
import type { OfflineParts } from '../commands/runner.ts';
import { refused, writeEstate } from './write-estate.ts';

/** Makes a twin of files that Azure commands printed. @throws UsageError with every problem of the files */
export function makeTwin(
  paths: readonly string[],
  { scale, file }: { readonly scale: number; readonly file: string | undefined },
  { terminal, output }: OfflineParts,
): void {
  const files = paths.map((name) => ({ name, text: Buffer.from(terminal.readFile(name)).toString('utf8') }));
  const made = estateFromAzure(files, { scale });
  if ('problems' in made) {
    const lines = made.problems.map(({ file: of, line, message, cure }) => `${of}:${line}: ${message}. ${cure}`);
    throw refused(lines, terminal);
  }
  const { estate, notMapped, changed } = made;
  if (output.isDocument) {
    output.write(JSON.parse(JSON.stringify(made)));
    return;
  }
  const remarks = [
    ...notMapped.map(({ what, reason }) => `not mapped: ${what}: ${reason}`),
    ...changed.map(({ what, reason }) => `changed: ${what}: ${reason}`),
  ];
  const title = `Twin made by interlock estate from-azure ${paths.join(' ')}; sizes of disks divided by ${scale}.`;
  writeEstate(printEstate(estate, [title, ...remarks]), file, terminal);
  for (const line of remarks) terminal.err(line);
  const { machines, disks, sets, vaults } = estate;
  terminal.err(
    `${machines.length} machines, ${disks.length} disks, ${sets.length} sets, ${vaults.length} vaults; not mapped: ${notMapped.length}, changed: ${changed.length}`,
  );
}
