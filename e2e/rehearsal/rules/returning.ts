import type { ReturnSeen } from '../evidence/evidence.ts';
import { each, type Finding, finding, listed, rule, short } from './rule.ts';
import { timedFindings } from './timed.ts';

/** Rules about restored access (CMK-120, 121, 126, 127). */
export const returningRules = [
  rule(
    'CMK-120',
    'Enabling the key again makes the disks usable and the machines startable',
    ['enabled', 'disabled', 'timed'],
    ({ enabled, disabled, timed }) => [
      ...returned(enabled, isNotUltra),
      everyone(enabled, disabled.machines),
      ...timedFindings(timed, ['disable-key', 'disable-version']),
    ],
  ),

  rule(
    'CMK-121',
    'Assigning another key is the second way back, also from a deleted one',
    ['assigned', 'granted', 'deleted'],
    // Half of the machines start after the assignment, the others later, all under the other key.
    ({ assigned, granted, deleted }) => [
      ...returned(assigned, isNotUltra),
      ...returned(granted, isNotUltra),
      everyone({ starts: [...assigned.starts, ...granted.starts] }, deleted.machines),
    ],
  ),

  rule(
    'CMK-126',
    'The ultra machine comes up again after the key is enabled, or another one assigned',
    ['enabled', 'assigned'],
    ({ enabled, assigned }) =>
      [enabled, assigned].flatMap((back) => returned(back, (machine) => machine === 'vm-ultra')),
  ),

  rule(
    'CMK-127',
    'What is read after the return is what was written before, byte for byte',
    ['content', 'enabled', 'assigned', 'granted'],
    ({ content, enabled, assigned, granted }) => [
      finding(
        content.mismatches === 0 && content.bytesCompared > 0 && content.records > 0 && content.marksRead > 0,
        `${content.bytesCompared} bytes of ${content.disks} disks were compared (${content.records} acknowledged records of guests, ${content.marksRead} marks from the beginning): ${content.mismatches} mismatches`,
      ),
      each(
        content.perDisk,
        ({ bytes, acknowledged, found }) => bytes > 0 && acknowledged === found,
        (seen) =>
          `${seen.length} disks have the SHA-256 of what was acknowledged: ${listed(seen.map(({ disk }) => short(disk)))}`,
      ),
      finding(
        content.disks === content.perDisk.length + content.throughApi.length,
        `${content.throughApi.length} others, whose files no key kept at home opens, gave their mark back through the API: ${listed(content.throughApi.map(short))}`,
      ),
      ...[enabled, assigned, granted].map(({ how, verified, mismatched }) =>
        finding(
          verified > 0 && mismatched === 0,
          `after ${how} the guests found ${verified} of their earlier records, ${mismatched} differed`,
        ),
      ),
    ],
  ),
];

const isNotUltra = (machine: string): boolean => machine !== 'vm-ultra';

/** Those machines must run and do good work again. */
function returned({ how, starts, io }: ReturnSeen, isMeant: (machine: string) => boolean): readonly Finding[] {
  return [
    each(
      starts.filter(({ machine }) => isMeant(machine)),
      ({ machine, outcome }) => {
        const done = io.find((summary) => summary.machine === machine);
        return outcome === 'running' && done !== undefined && done.reads > 0 && done.writes > 0;
      },
      (seen) =>
        `after ${how}: ${listed(
          seen.map(({ machine, outcome, code }) => {
            const done = io.find((summary) => summary.machine === machine);
            return `${machine} ${outcome}${code && ` (${code})`}, ${(done?.reads ?? 0) + (done?.writes ?? 0)} reads and writes`;
          }),
          8,
        )}`,
    ),
  ];
}

/** That every machine that was stopped was started again. */
function everyone(
  { starts }: Pick<ReturnSeen, 'starts'>,
  machines: readonly { readonly name: string; readonly onLoss: string }[],
): Finding {
  const lost = machines.filter(({ onLoss }) => onLoss === 'stops').map(({ name }) => name);
  const missing = lost.filter((name) => !starts.some(({ machine }) => machine === name));
  return finding(
    lost.length > 0 && missing.length === 0,
    `${lost.length} machines had stopped; not started again: ${listed(missing)}`,
  );
}
