import type { JsonObject } from '@bufbuild/protobuf';

/** What a loss of access does to machines and data, by the lines of a preview. Full names, each once. */
export interface BlastRadius {
  readonly stops: readonly string[];
  /** Machines that keep running, or are off, and cannot start. */
  readonly fails: readonly string[];
  /** Disks and snapshots without data as long as access is lost. */
  readonly unavailable: readonly string[];
  /** Disks and snapshots whose data is lost for good. */
  readonly unreadable: readonly string[];
}

/** Sums up lines of `PreviewImpact`. A machine with disks of several sets counts once, by the worse effect. */
export function blastRadiusOf(lines: readonly JsonObject[]): BlastRadius {
  const of = (kinds: RegExp): readonly string[] => [
    ...new Set(lines.filter(({ kind }) => kinds.test(String(kind))).map(({ resource }) => String(resource))),
  ];
  const stops = of(/^VIRTUAL_MACHINE_STOPS$/);
  const stopping = new Set(stops);
  return {
    stops,
    fails: of(/^VIRTUAL_MACHINE_FAILS/).filter((name) => !stopping.has(name)),
    unavailable: of(/^(DISK|SNAPSHOT)_UNAVAILABLE/),
    unreadable: of(/_UNREADABLE$/),
  };
}

/** Most names shown of each kind. */
const NAMED_MAX = 5;

/** `4 machines stop (a, b, c, d), 1 fails at its next start (e)`. @param short a name as users type it */
export function blastRadiusText(
  { stops, fails, unavailable, unreadable }: BlastRadius,
  short: (name: string) => string,
): string {
  const named = (all: readonly string[]): string => {
    const names = all.slice(0, NAMED_MAX).map(short).join(', ');
    return ` (${names}${all.length > NAMED_MAX ? ', …' : ''})`;
  };
  const counted = (all: readonly string[], one: string, many: string): readonly string[] =>
    all.length === 0 ? [] : [`${all.length} ${all.length === 1 ? one : many}${named(all)}`];
  const machines = [
    ...counted(stops, 'machine stops', 'machines stop'),
    ...counted(fails, 'fails at its next start', 'fail at their next start'),
  ];
  return [
    ...(stops.length === 0 ? ['no machine stops'] : []),
    ...machines,
    ...counted(unreadable, 'disk or snapshot is unreadable for good', 'disks and snapshots are unreadable for good'),
    ...(machines.length > 0 || unreadable.length > 0
      ? []
      : counted(unavailable, 'disk or snapshot is without data', 'disks and snapshots are without data')),
  ].join(', ');
}
