import { accessReasonOf, isOutage } from '@interlock/access';
import type { RecordedEvent } from '@interlock/event-store';
import { traceIdOf } from '@interlock/runtime';
import type { KeyLoss, ReadVmEvent } from '../events/compute.ts';
import type { ReadSetEvent } from '../events/disk-encryption-set.ts';
import { readEvent } from '../events/recorded.ts';
import { type Findings, seconds } from '../findings.ts';
import { isDefinite } from '../model/access.ts';
import type { Loss } from '../model/losses.ts';
import type { MachineTruth } from '../model/machines.ts';
import type { Truth } from '../model/truth.ts';
import type { Bounds } from './bounds.ts';

/** A loss as a service shows it: at a stop, a refused start, a lost disk, or a set. */
export type ClaimedLoss = Pick<KeyLoss, 'set' | 'keyVersion'> & { readonly reason: string } & Partial<
    Pick<KeyLoss, 'disk' | 'traceId' | 'accessEpoch'>
  >;

export interface ReasonJudgeParts {
  readonly log: Findings;
  readonly truth: Pick<Truth, 'nowMs'> & {
    readonly machines: Pick<MachineTruth, 'machines'>;
    readonly losses: { losses(set: string, keyVersion: string, purpose: 'opening'): readonly Loss[] };
  };
  readonly bounds: Pick<Bounds, 'newsMs'>;
}

/** Reasons that a date brings: no commit at that moment has a trace. */
const dates: readonly string[] = ['KEY_EXPIRED', 'KEY_NOT_YET_VALID'];

/**
 * G10: whether each shown loss is a true one: its set could not use that key version for that reason, by a commit with that trace.
 * If several reasons are true, any of them may be shown.
 */
export class ReasonJudge {
  readonly #parts: ReasonJudgeParts;
  /** When each set was created: before, its identity had no grants, and that was no loss. */
  readonly #createdMs = new Map<string, number>();

  /** Traces of the commits of each vault and its keys. */
  readonly #tracesOf = new Map<string, Set<string>>();

  constructor(parts: ReasonJudgeParts) {
    this.#parts = parts;
  }

  /** Applies every event, after the truth has applied it. */
  onEvent(recorded: RecordedEvent): void {
    const { stream } = recorded;
    this.#noteTrace(recorded);
    const name = stream.slice(stream.indexOf('-') + 1);
    if (stream.startsWith('set-')) {
      const event = readEvent<ReadSetEvent>(recorded);
      if (event.type === 'SetCreated') this.#createdMs.set(name, this.#parts.truth.nowMs());
      if (event.type !== 'KeyAccessLost' && event.type !== 'KeyAccessBarred') return;
      const { reason, keyVersion } = event;
      this.#judge(`the loss that ${name} publishes`, { reason, keyVersion, set: name });
    }
    if (!stream.startsWith('vm-')) return;
    const event = readEvent<ReadVmEvent>(recorded);
    const ownTrace = traceIdOf(recorded.cause.traceparent);
    for (const [what, loss] of claimsOf(event)) {
      // The vault can name no commit for a grant that never was, as after the vault was purged and created again.
      const isUnexplained = loss.reason === 'ACCESS_DENIED' && loss.traceId === ownTrace;
      // A stop names the commit that removed access. A refusal names the newest commit by which the vault decides.
      const isOfVault = event.type !== 'VmStopping' && this.#isOfVault(loss);
      this.#judge(`${what} of ${name}`, isUnexplained || isOfVault ? { ...loss, traceId: '' } : loss);
    }
  }

  #noteTrace({ stream, cause }: RecordedEvent): void {
    const [, vault] = /^(?:vault-|key-vaults\/)([^/]+)/.exec(stream) ?? [];
    const trace = traceIdOf(cause.traceparent);
    if (vault === undefined || trace === undefined) return;
    this.#tracesOf.set(vault, (this.#tracesOf.get(vault) ?? new Set()).add(trace));
  }

  #isOfVault({ keyVersion, traceId = '' }: ClaimedLoss): boolean {
    return this.#tracesOf.get(keyVersion.split('/')[1] ?? '')?.has(traceId) === true;
  }

  #judge(what: string, claimed: ClaimedLoss): void {
    const wrong = this.wrongIn(claimed);
    if (wrong !== undefined) this.#parts.log.violate('G10', `${what} names ${wrong.expected}`, wrong.actual);
  }

  /** What a shown loss should say instead; undefined if it is a true one. */
  wrongIn(claimed: ClaimedLoss): { readonly expected: string; readonly actual: string } | undefined {
    const { reason, set, keyVersion, traceId = '', accessEpoch = 0, disk } = claimed;
    const { truth, bounds } = this.#parts;
    if (isOutageReason(reason)) return undefined;
    const all = truth.losses.losses(set, keyVersion, 'opening');
    const createdMs = this.#createdMs.get(set) ?? Number.NEGATIVE_INFINITY;
    // A loss that ended a moment ago may still be the newest that a service knows, also for a disk that was opened since.
    const sinceMs = Math.max(truth.nowMs() - bounds.newsMs, createdMs);
    const recent = all.filter(({ untilMs }) => untilMs === undefined || untilMs >= sinceMs);
    const fitting = recent.filter(({ reasons }) => isDefinite(reason) && reasons.has(reason));
    const subject = `${keyVersion} of ${set}${disk === undefined ? '' : ` (${disk})`}`;
    if (fitting.length === 0) return { expected: `why ${subject} was lost: ${reasonsText(recent)}`, actual: reason };
    if (accessEpoch === 0 || traceId === '' || dates.includes(reason)) return undefined;
    const traces = new Set(recent.flatMap((loss) => [...loss.traces]));
    if (traces.size === 0 || traces.has(traceId)) return undefined;
    return { expected: `the trace that removed ${subject}: ${[...traces].join(' or ')}`, actual: traceId };
  }
}

const isOutageReason = (reason: string): boolean => {
  const known = accessReasonOf(reason);
  return known !== undefined && isOutage(known);
};

const reasonsText = (losses: readonly Loss[]): string =>
  losses.map(({ reasons, fromMs }) => `${[...reasons].join(' or ')} since ${seconds(fromMs)}`).join(', ') ||
  'it was not lost';

/** The losses that an event of a machine shows. */
const claimsOf = (event: ReadVmEvent): readonly (readonly [string, ClaimedLoss])[] => {
  switch (event.type) {
    case 'VmStopping':
      return [
        ...(event.reason === undefined ? [] : [['the stop', event.reason] as const]),
        ...(event.blocked ?? []).map((loss) => ['the stop', loss] as const),
      ];
    case 'VmStartFailed':
      // A start that fails for another cause has none.
      return (event.blocked ?? []).map((loss) => ['the refused start', loss] as const);
    case 'NextStartBlocked':
      return event.blocked.map((loss) => ['the blocked next start', loss] as const);
    case 'OutageExplained':
      return [['the explained outage', event.loss]];
    default:
      return [];
  }
};
