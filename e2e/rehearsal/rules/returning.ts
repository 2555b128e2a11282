import { shortName } from '@interlock/lab/short-name';
import type { ReturnSeen } from '../evidence/evidence.ts';
import { judged } from './lab.ts';
import { all, each, type Finding, finding, listed, rule } from './rule.ts';

/** Rules about restored access (CMK-120, 121, 126, 127). */
export const returningRules = [
  rule(
    'CMK-120',
    'Enabling the key again makes the disks usable and the machines startable',
    ['keyLost', 'everyWay'],
    ({ keyLost, everyWay }) => [
      ...judged(keyLost, ...['hdd', 'ssd', 'premium', 'premium-v2', 'mixed'].map((sku) => `vm-${sku}.back`)),
      ...judged(everyWay, 'disable-key.', 'disable-version.', 'bytesLost'),
    ],
  ),

  rule(
    'CMK-121',
    'Assigning another key is the second way back, also from a deleted one',
    ['assigned', 'deleted'],
    ({ assigned, deleted }) => {
      const lost = deleted.filter(({ onLoss }) => onLoss === 'stops').map(({ name }) => name);
      const missing = lost.filter((name) => !assigned.starts.some(({ machine }) => machine === name));
      return [
        returned(assigned, (machine) => machine !== 'vm-ultra'),
        finding(
          lost.length > 0 && missing.length === 0,
          `${lost.length} machines had stopped; not started again: ${listed(missing)}`,
        ),
      ];
    },
  ),

  rule(
    'CMK-126',
    'The ultra machine comes up again after the key is enabled, or another one assigned',
    ['assigned', 'ultraStarts'],
    ({ assigned, ultraStarts }) => [
      returned(assigned, (machine) => machine === 'vm-ultra'),
      finding(
        ultraStarts.some(({ outcome, reason }) => outcome === 'failed' && reason === 'KEY_DISABLED') &&
          ultraStarts.at(-1)?.outcome === 'running',
        `starts of a machine with an ultra disk, before and after the key was enabled: ${listed(ultraStarts.map(({ outcome, reason }) => `${outcome} ${reason}`.trim()))}`,
      ),
    ],
  ),

  rule(
    'CMK-127',
    'What is read after the return is what was written before, byte for byte',
    ['content', 'assigned', 'keyLost', 'everyWay'],
    ({ content, assigned: { verified, mismatched }, keyLost, everyWay }) => [
      finding(
        content.mismatches === 0 && content.bytesCompared > 0 && content.records > 0 && content.marksRead > 0,
        `${content.bytesCompared} bytes of ${content.disks} disks were compared (${content.records} acknowledged records of guests, ${content.marksRead} marks from the beginning): ${content.mismatches} mismatches`,
      ),
      all(
        content.perDisk,
        ({ bytes, acknowledged, found }) => bytes > 0 && acknowledged === found,
        (seen) =>
          `${seen.length} disks have the SHA-256 of what was acknowledged: ${listed(seen.map(({ disk }) => shortName(disk)))}`,
      ),
      finding(
        content.disks === content.perDisk.length + content.throughApi.length,
        `${content.throughApi.length} others, whose files no key kept at home opens, gave their mark back through the API: ${listed(content.throughApi.map(shortName))}`,
      ),
      finding(
        verified > 0 && mismatched === 0,
        `under the other key the guests found ${verified} of their earlier records, ${mismatched} differed`,
      ),
      ...[keyLost, everyWay].flatMap((verdict) => judged(verdict, 'bytesLost')),
    ],
  ),
];

/** Those machines must run and do good work again under the other key. */
const returned = ({ starts, io }: ReturnSeen, isMeant: (machine: string) => boolean): Finding => {
  const workOf = (machine: string) => io.find((summary) => summary.machine === machine) ?? { reads: 0, writes: 0 };
  return each(
    starts.filter(({ machine }) => isMeant(machine)),
    ({ machine, outcome }) => outcome === 'running' && workOf(machine).reads > 0 && workOf(machine).writes > 0,
    ({ machine, outcome, code }) => {
      const { reads, writes } = workOf(machine);
      return `${machine} ${outcome}${code && ` (${code})`}, ${reads + writes} reads and writes`;
    },
    'under the other key: ',
  );
};
