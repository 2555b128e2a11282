import type { Terminal } from '../output/terminal.ts';
import { shortName } from '../request/names.ts';
import { beforeEnd } from '../session/endings.ts';
import type { Session } from '../session/session.ts';
import { changesBetween, newest } from '../watch/changes.ts';
import { type Reading, readCloud } from '../watch/reading.ts';
import { type Counts, changeText, drawn, type Screen } from '../watch/screen.ts';

/** Poll interval, in milliseconds. */
const LOOK_MS = 1_000;
/** Rates are computed over this many readings: guests save their counters twice a second. */
const COUNTS_MAX = 6;
/** Changes that are kept for the screen. */
const CHANGES_MAX = 200;

/** Alternate screen without a cursor, so that the shell's content is restored at the end. */
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
/** Moves to the first line. Each line clears the rest of a longer line. */
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_REST = '\u001b[J';

/** What is watched, and how it is shown. */
export interface WatchOptions {
  /** Full name of a group or subscription. */
  readonly parent: string;
  readonly title: string;
  readonly hasColours: boolean;
}

/**
 * Shows sets, leases and machines and what changes, until Ctrl-C or the end of `--timeout`: a screen on a terminal, otherwise a line for each
 * change. Services may restart meanwhile: what cannot be read stays as it was last.
 */
export async function watchCloud(session: Session, options: WatchOptions): Promise<void> {
  const { caller, clock, terminal, output, settings, timeoutMs } = session;
  const short = (name: string): string => shortName(name, settings.names);
  const startedMs = clock.monotonicMs();
  const isOver = () => timeoutMs !== undefined && clock.monotonicMs() - startedMs >= timeoutMs;
  const screen = output.isDocument || terminal.size?.() === undefined ? undefined : openScreen(terminal);
  let state: Screen | undefined;
  try {
    while (!isOver()) {
      const before = state;
      state = nextScreen(before, await readCloud(caller, options.parent, clock.now()), short);
      if (screen !== undefined) screen.draw(state, { ...options, short });
      else report(before, state, session);
      await clock.sleep(LOOK_MS);
    }
  } finally {
    screen?.close();
  }
}

/** The state after another reading. */
export function nextScreen(before: Screen | undefined, found: Reading, short: (name: string) => string): Screen {
  const parts = ['sets', 'leases', 'machines'] as const;
  const stale = new Set(parts.filter((part) => found[part] === undefined));
  const now = before === undefined ? found : newest(before.now, found);
  const fresh = before === undefined ? [] : changesBetween(before.now, found, short);
  const counts = [...(before?.counts ?? []), ...countsOf(found)].slice(-COUNTS_MAX);
  const problemsSince = new Map(
    Object.entries(found.problems)
      .filter(([, problem]) => problem !== '')
      .map(([service]) => [service, before?.problemsSince.get(service) ?? found.atMs]),
  );
  return {
    now,
    stale,
    problemsSince,
    counts,
    rates: found.machines === undefined ? new Map() : ratesIn(counts),
    changes: [...(before?.changes ?? []), ...fresh].slice(-CHANGES_MAX),
  };
}

const countsOf = ({ atMs, machines }: Reading): readonly Counts[] =>
  machines === undefined ? [] : [{ atMs, operations: new Map(machines.map((one) => [one.name, one.operations])) }];

/** Operations per second from the oldest count to the newest. */
function ratesIn(counts: readonly Counts[]): ReadonlyMap<string, number> {
  const [oldest, newestCount] = [counts[0], counts.at(-1)];
  if (oldest === undefined || newestCount === undefined || oldest === newestCount) return new Map();
  const seconds = (newestCount.atMs - oldest.atMs) / 1_000;
  return new Map(
    [...newestCount.operations].map(([name, operations]) => {
      const done = operations - (oldest.operations.get(name) ?? operations);
      return [name, Math.max(0, done / seconds)];
    }),
  );
}

/** Writes what is new as lines: first a summary, then each change. */
function report(before: Screen | undefined, { now, changes }: Screen, { terminal, output, settings }: Session): void {
  const { sets, machines } = now;
  const isFirst = before?.now.sets === undefined || before.now.machines === undefined;
  if (isFirst && sets !== undefined && machines !== undefined && !output.isDocument) {
    const running = machines.filter(({ power }) => power === 'RUNNING').length;
    const name = settings.names.group ?? settings.names.subscription;
    terminal.out(`watching ${name}: ${sets.length} sets, ${machines.length} machines, ${running} of them running`);
  }
  const known = new Set(before?.changes ?? []);
  for (const change of changes.filter((one) => !known.has(one))) {
    if (output.isDocument) output.writeNext({ ...change });
    else terminal.out(changeText(change));
  }
}

/** A screen on a terminal. `close` restores the shell's content, also after Ctrl-C. */
function openScreen(terminal: Terminal) {
  const leave = () => terminal.screen(LEAVE_SCREEN);
  const cancel = beforeEnd(leave);
  terminal.screen(ENTER_SCREEN);
  return {
    draw(screen: Screen, layout: WatchOptions & { readonly short: (name: string) => string }) {
      const { columns: width, rows } = terminal.size?.() ?? { columns: 80, rows: 24 };
      // The line break after the last line must not scroll.
      const lines = drawn(screen, { ...layout, width, height: rows - 1 });
      terminal.screen(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\n')}${CLEAR_REST}`);
    },
    close() {
      cancel();
      leave();
    },
  };
}
