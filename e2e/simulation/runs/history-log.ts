/** The promises, by their names. */
export type Guarantee = 'G1' | 'G2' | 'G3' | 'G4' | 'G5' | 'G6' | 'G7' | 'G8' | 'G9' | 'G10';

/** A promise that did not hold. */
export interface Violation {
  readonly guarantee: Guarantee;
  /** What the promise says about this case, in words. */
  readonly expected: string;
  /** What was seen instead. */
  readonly actual: string;
  /** Milliseconds of true time since the history began. */
  readonly atMs: number;
}

/** How an action ended, as whoever acted saw it. */
export type Outcome =
  | { readonly kind: 'ok'; readonly text: string }
  /** A service understood and refused; `reason` is empty where the answer carried none. */
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** No answer: it may have taken effect, or may still. */
  | { readonly kind: 'unknown'; readonly code: string };

/** Something somebody did. */
export interface ActionRecord {
  /** From 1, in order of invocation. */
  readonly id: number;
  readonly name: string;
  /** On what, and with which values. */
  readonly text: string;
  readonly invokedAtMs: number;
  completedAtMs: number | undefined;
  outcome: Outcome | undefined;
}

type Entry =
  | { readonly kind: 'begin'; readonly atMs: number; readonly action: ActionRecord }
  | { readonly kind: 'end'; readonly atMs: number; readonly action: ActionRecord }
  | { readonly kind: 'fact' | 'note'; readonly atMs: number; readonly text: string };

/** Where what does not hold is said; the first that is said counts. */
export interface Verdict {
  violate(guarantee: Guarantee, expected: string, actual: string): void;
  readonly violation: Violation | undefined;
}

/** While it is made. A property and no getter, which would be a function in the shape of each (see `engineFlags`). */
type Found<V extends Verdict = Verdict> = Omit<V, 'violation'> & { violation: Violation | undefined };

/** A verdict nobody is bound by: whether something would be said, were it the time to say it. */
export const openTrial = (nowMs: () => number): Verdict => {
  const trial: Found = {
    violation: undefined,
    violate(guarantee, expected, actual) {
      trial.violation ??= { guarantee, expected, actual, atMs: nowMs() };
    },
  };
  return trial;
};

/**
 * What happened, in order: who did what and how it ended, which facts services committed, which faults struck. Lines are
 * made only when somebody wants to read them.
 */
export interface HistoryLog extends Verdict {
  begin(name: string, text: string): ActionRecord;
  end(action: ActionRecord, outcome: Outcome): void;
  /** Something a service committed. */
  fact(text: string): void;
  /** A fault, or a step of the history itself. */
  note(text: string): void;
  readonly actions: readonly ActionRecord[];
  /** One line an entry: `<seconds> <what>`. */
  lines(): readonly string[];
}

export const openHistoryLog = (nowMs: () => number): HistoryLog => {
  const entries: Entry[] = [];
  const actions: ActionRecord[] = [];
  const log: Found<HistoryLog> = {
    actions,
    violation: undefined,
    begin(name, text) {
      const invokedAtMs = nowMs();
      const id = actions.length + 1;
      const action: ActionRecord = { id, name, text, invokedAtMs, completedAtMs: undefined, outcome: undefined };
      actions.push(action);
      entries.push({ kind: 'begin', atMs: invokedAtMs, action });
      return action;
    },
    end(action, outcome) {
      action.completedAtMs = nowMs();
      action.outcome = outcome;
      entries.push({ kind: 'end', atMs: action.completedAtMs, action });
    },
    fact: (text) => {
      entries.push({ kind: 'fact', atMs: nowMs(), text });
    },
    note: (text) => {
      entries.push({ kind: 'note', atMs: nowMs(), text });
    },
    violate(guarantee, expected, actual) {
      const atMs = nowMs();
      entries.push({ kind: 'note', atMs, text: `VIOLATION of ${guarantee}: expected ${expected}; seen: ${actual}` });
      log.violation ??= { guarantee, expected, actual, atMs };
    },
    lines: () => entries.map(lineOf),
  };
  return log;
};

/** Every resource lies in the same group, so that part of its name tells nothing. */
const short = (text: string): string => text.replaceAll(/subscriptions\/[^/ ]+\/resourceGroups\/[^/ ]+\//g, '');

const lineOf = (entry: Entry): string => `${(entry.atMs / 1_000).toFixed(3)} ${short(textOf(entry))}`;

const textOf = (entry: Entry): string => {
  switch (entry.kind) {
    case 'begin':
      return `#${entry.action.id} ${entry.action.name} ${entry.action.text}`;
    case 'end':
      return `#${entry.action.id} ${entry.action.name}: ${outcomeText(entry.action.outcome)}`;
    case 'fact':
      return `  ${entry.text}`;
    case 'note':
      return entry.text;
  }
};

const outcomeText = (outcome: Outcome | undefined): string => {
  if (outcome === undefined) return 'under way';
  if (outcome.kind === 'ok') return `ok ${outcome.text}`.trimEnd();
  return outcome.kind === 'refused' ? `refused ${outcome.code} ${outcome.reason}` : `no answer ${outcome.code}`;
};
