import { estateFromAzure, printEstate } from '@interlock/lab';
import { systemClock, visibleInLine } from '@interlock/runtime';
import type { OfflineParts } from '../commands/runner.ts';
import { TwinIncomplete } from '../problems.ts';
import { refused, writeEstate } from './write-estate.ts';

/**
 * Makes a twin of files that Azure commands printed.
 * @throws UsageError with every problem of the files; TwinIncomplete, after the twin is written, if machines are not in it
 */
export function makeTwin(
  paths: readonly string[],
  { scale, file }: { readonly scale: number; readonly file: string | undefined },
  { terminal, output }: OfflineParts,
): void {
  const files = paths.map((name) => ({ name, text: Buffer.from(terminal.readFile(name)).toString('utf8') }));
  const made = estateFromAzure(files, { scale, nowMs: systemClock.now() });
  if ('problems' in made) {
    const lines = made.problems.map(({ file: of, line, message, cure }) =>
      visibleInLine(`${of}:${line}: ${message}. ${cure}`),
    );
    throw refused(lines, terminal);
  }
  const { estate, notMapped, changed, ignored, machinesLeftOut } = made;
  if (output.isDocument) {
    output.write(JSON.parse(JSON.stringify(made)));
    refuseIncomplete(machinesLeftOut);
    return;
  }
  const remarks = [
    ...notMapped.map(({ what, reason }) => `not mapped: ${what}: ${reason}`),
    ...changed.map(({ what, reason }) => `changed: ${what}: ${reason}`),
    ...ignored.map(({ property, kind, of, reason }) => `ignored: ${property} of ${countOf(kind, of)}: ${reason}`),
  ];
  const title = `Twin made by interlock estate from-azure ${paths.join(' ')}; sizes of disks divided by ${scale}.`;
  writeEstate(printEstate(estate, [title, ...remarks]), file, terminal);
  for (const line of remarks) terminal.err(visibleInLine(line));
  const { machines, disks, sets, vaults } = estate;
  terminal.err(
    `${machines.length} machines, ${disks.length} disks, ${sets.length} sets, ${vaults.length} vaults; not mapped: ${notMapped.length}, changed: ${changed.length}, ignored: ${ignored.length}`,
  );
  refuseIncomplete(machinesLeftOut);
}

const NAMED_MAX = 5;

/** `3 machines (web-01, web-02, web-03)`. */
const countOf = (kind: string, names: readonly string[]): string => {
  const more = names.length > NAMED_MAX ? `, and ${names.length - NAMED_MAX} more` : '';
  return `${names.length} ${kind}${names.length === 1 ? '' : 's'} (${names.slice(0, NAMED_MAX).join(', ')}${more})`;
};

function refuseIncomplete(machines: readonly string[]): void {
  if (machines.length > 0) throw new TwinIncomplete(machines);
}
