import { visibleInLine } from '@interlock/runtime';
import { aligned, cutEnd, padded } from '../output/align.ts';
import { services } from '../session/environment.ts';
import { type Change, shortKey } from './changes.ts';
import type { MachineRow, Reading } from './reading.ts';

/** Operations of machines at some time. */
export interface Counts {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** By full name, since the machine was made. */
  readonly operations: ReadonlyMap<string, number>;
}

/** What a screen shows. */
export interface Screen {
  /** The newest of each part. */
  readonly now: Reading;
  /** The newest counts, oldest first. */
  readonly counts: readonly Counts[];
  /** Operations per second of machines, by full name. */
  readonly rates: ReadonlyMap<string, number>;
  /** Parts that the last reading does not have: they show what was known before. */
  readonly stale: ReadonlySet<'sets' | 'leases' | 'machines'>;
  /** Since when services are not responding, in milliseconds since the epoch. */
  readonly problemsSince: ReadonlyMap<string, number>;
  /** Oldest first. */
  readonly changes: readonly Change[];
}

/** How it is drawn. */
export interface ScreenLayout {
  readonly width: number;
  readonly height: number;
  readonly hasColours: boolean;
  /** What is watched: a group or subscription. */
  readonly title: string;
  readonly short: (name: string) => string;
}

type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';
const codes: Readonly<Record<Colour, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

/** A line of a screen. */
interface Line {
  readonly text: string;
  readonly colour?: Colour | undefined;
}

/** Lines that changes get at least, with their title. */
const changeLinesMin = 6;

/** The lines of a screen: at most `height`, each at most `width` wide. */
export function drawn(screen: Screen, layout: ScreenLayout): readonly string[] {
  const { width, height, hasColours } = layout;
  const head = [...titleLines(screen, layout), ...serviceLines(screen)];
  const sets = setLines(screen, layout);
  const roomForMachines = Math.max(2, height - head.length - sets.length - changeLinesMin);
  const above = [...head, ...sets, ...machineLines(screen, layout, roomForMachines)];
  const lines = [...above, ...changeLines(screen, Math.max(0, height - above.length))].slice(0, height);
  return lines.map(({ text, colour }) => {
    const cut = cutEnd(visibleInLine(text), width);
    return colour === undefined || !hasColours ? cut : `\u001b[${codes[colour]}m${cut}\u001b[0m`;
  });
}

const titleLines = ({ now }: Screen, { title, width }: ScreenLayout): readonly Line[] => {
  const right = `${clock(new Date(now.atMs).toISOString())} UTC`;
  return [{ text: padded(`interlock watch: ${title}`, width - right.length) + right, colour: 'bold' }];
};

/** One line if all respond, otherwise one for each that does not. */
function serviceLines({ now, problemsSince }: Screen): readonly Line[] {
  const wrong = services.filter((service) => now.problems[service] !== '');
  if (wrong.length === 0) return [{ text: 'every service responds', colour: 'green' }];
  return wrong.map((service) => {
    const forMs = now.atMs - (problemsSince.get(service) ?? now.atMs);
    return { text: `${service}: ${now.problems[service]} for ${Math.round(forMs / 1_000)} s`, colour: 'red' };
  });
}

function setLines({ now, stale }: Screen, { short }: ScreenLayout): readonly Line[] {
  const rows = now.sets ?? [];
  const leases = Map.groupBy(now.leases ?? [], ({ set }) => set);
  const table = rows.map(({ name, key, access, reason, since }) => {
    const own = leases.get(name) ?? [];
    const lease = own.map(
      ({ state, expiresInMs, openCount }) =>
        `${state}${state === 'HELD' ? ` ${Math.round(expiresInMs / 1_000)} s` : ''}, ${openCount} open`,
    );
    return [
      short(name),
      key === '' ? '' : shortKey(short(key)),
      access,
      reason,
      clock(since),
      lease.join('; ') || 'no disk open',
    ];
  });
  const colours = rows.map(({ access }): Colour | undefined =>
    access === 'LOST' ? 'red' : access === 'AVAILABLE' ? undefined : 'yellow',
  );
  const title = `SETS${now.isCut ? ' (first 1,000)' : ''}${stale.has('sets') ? ' (as last read)' : ''}`;
  return section(
    [title, 'KEY', 'ACCESS', 'REASON', 'SINCE', `LEASE${stale.has('leases') ? ' (as last read)' : ''}`],
    table,
    colours,
  );
}

/** @param room lines that machines may have, with their title; those that do not run come first if there are more */
function machineLines({ now, rates, stale }: Screen, { short }: ScreenLayout, room: number): readonly Line[] {
  const all = now.machines ?? [];
  const fits = all.length + 2 <= room;
  const sorted = fits ? all : all.toSorted((a, b) => rank(a) - rank(b));
  const rows = fits ? sorted : sorted.slice(0, Math.max(0, room - 3));
  const hasHosts = all.some(({ vmHost }) => vmHost !== '');
  const table = rows.map(({ name, power, vmHost, reason, since, failures, mismatches, operations }) => [
    short(name),
    ...(hasHosts ? [vmHost] : []),
    power,
    reason,
    clock(since),
    rateText(rates.get(name)),
    String(operations),
    String(failures),
    String(mismatches),
  ]);
  const title = `MACHINES${now.isCut ? ' (first 1,000)' : ''}${stale.has('machines') ? ' (as last read)' : ''}`;
  const titles = [
    title,
    ...(hasHosts ? ['HOST'] : []),
    'POWER',
    'REASON',
    'SINCE',
    'I/O',
    'OPERATIONS',
    'FAILED',
    'MISMATCHES',
  ];
  const rest = all.length - rows.length;
  const running = sorted.slice(rows.length).filter(({ power }) => power === 'RUNNING').length;
  return [
    ...section(titles, table, rows.map(colourOf)),
    ...(rest > 0 ? [{ text: `… and ${rest} more, ${running} of them running`, colour: 'dim' as const }] : []),
  ];
}

/** Empty before the second reading, and while compute is not responding. */
const rateText = (rate: number | undefined): string => (rate === undefined ? '' : `${rate.toFixed(1)}/s`);

const colourOf = ({ power, reason, mismatches }: MachineRow): Colour | undefined => {
  if (mismatches > 0) return 'red';
  if (power === 'RUNNING') return reason === '' ? 'green' : 'yellow';
  return reason === '' ? undefined : 'red';
};

/** What needs attention comes first. */
const rank = (machine: MachineRow): number => {
  if (machine.mismatches > 0) return 0;
  if (machine.power !== 'RUNNING') return 1;
  return machine.reason === '' ? 3 : 2;
};

function section(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  colours: readonly (Colour | undefined)[],
): readonly Line[] {
  const [head = '', ...lines] = aligned([titles, ...rows]).split('\n');
  const shown =
    rows.length === 0
      ? [{ text: 'none', colour: 'dim' as const }]
      : lines.map((text, n) => ({ text, colour: colours[n] }));
  return [{ text: '' }, { text: head, colour: 'bold' }, ...shown];
}

/** The newest changes that fit, the newest last. */
function changeLines({ changes }: Screen, room: number): readonly Line[] {
  if (room < 3) return [];
  const shown = changes.slice(-(room - 2));
  return [
    { text: '' },
    { text: 'HAPPENED', colour: 'bold' },
    ...(shown.length === 0
      ? [{ text: 'nothing yet', colour: 'dim' as const }]
      : shown.map((change) => ({ text: changeText(change), colour: colourOfChange[change.kind] }))),
  ];
}

const colourOfChange: Readonly<Record<Change['kind'], Colour | undefined>> = {
  loss: 'red',
  return: 'green',
  other: undefined,
};

/** `17:36:40  des1  access to kv1/k1 LOST: KEY_DISABLED` */
export const changeText = ({ time, subject, text }: Change): string => `${clock(time)}  ${subject}  ${text}`;

/** `17:36:40` of an ISO time; empty of none. */
const clock = (time: string): string => time.slice(11, 19);
