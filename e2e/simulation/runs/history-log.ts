import type { CallOutcome, Findings, OpenFindings } from '@interlock/lab/judge/findings';

/** An action of a user, an operator or a guest. */
export interface ActionRecord {
  /** From 1, in order of invocation. */
  readonly id: number;
  readonly name: string;
  /** The subject, and the values. */
  readonly text: string;
  readonly invokedAtMs: number;
  completedAtMs: number | undefined;
  outcome: CallOutcome | undefined;
}

type Entry =
  | { readonly kind: 'begin'; readonly atMs: number; readonly action: ActionRecord }
  | { readonly kind: 'end'; readonly atMs: number; readonly action: ActionRecord }
  | { readonly kind: 'fact' | 'note'; readonly atMs: number; readonly text: string };

/** What happened, in order: actions and their outcome, facts that services committed, faults. Lines are made only when read. */
export interface HistoryLog extends Findings {
  begin(name: string, text: string): ActionRecord;
  end(action: ActionRecord, outcome: CallOutcome): void;
  /** A service committed it. */
  fact(text: string): void;
  /** A fault, or a step of the history itself. */
  note(text: string): void;
  readonly actions: readonly ActionRecord[];
  /** One line for each entry: `<seconds> <what>`. */
  lines(): readonly string[];
}

export const openHistoryLog = (nowMs: () => number): HistoryLog => {
  const entries: Entry[] = [];
  const actions: ActionRecord[] = [];
  const log: OpenFindings<HistoryLog> = {
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

/** Every resource is in the same group, so that part of its name is left out. */
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

const outcomeText = (outcome: CallOutcome | undefined): string => {
  if (outcome === undefined) return 'under way';
  if (outcome.kind === 'ok') return `ok ${outcome.text}`.trimEnd();
  return outcome.kind === 'refused' ? `refused ${outcome.code} ${outcome.reason}` : `no response ${outcome.code}`;
};
