import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { type Cause, continuing, Rejection } from '@interlock/event-store';
import { outsideOfCalls, type RpcClient } from '@interlock/rpc';
import { type Clock, contextFromTraceparent, type Logger, type Random, traceIdOf } from '@interlock/runtime';
import { type Context, context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { LossSource, SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';

/** What disk hosts need of compute. */
export type ComputeClient = Pick<RpcClient<typeof ComputeServiceDefinition>, 'reportAccessLost'>;

/** What is reported: a loss, or an outage that counts as one. */
export type ReportedLoss = Omit<LossFacts, 'reason'> & {
  readonly reason: LossFacts['reason'] | 'KEY_VAULT_UNREACHABLE';
};

/** The state of a report. */
export type ReportState = 'pending' | 'accepted' | 'refused';

/**
 * How long a loss that the set published is not reported, in milliseconds: compute consumes the same fact, and by then its
 * machines have closed their disks.
 */
const publishedMs = 3_000;
/** Waits between tries, in milliseconds: doubling, half of each by chance. */
const retryMs = (failures: number, chance: number): number =>
  Math.min(5_000, 100 * 2 ** (failures - 1)) * (0.5 + chance / 2);
/** How long a report waits until the host has stored what it found, in milliseconds: compute stops machines without that store too. */
const storedMs = 1_000;
/** How long compute may take to look for machines, in milliseconds. */
const deadlineMs = 10_000;

interface Report {
  readonly loss: ReportedLoss;
  /** The trace context of its calls. */
  readonly parent: Context;
  state: ReportState;
  readonly over: AbortController;
}

/** What reports need. */
export interface ReportParts {
  readonly compute: ComputeClient;
  /** Name of this host: `diskHosts/{disk_host}`. */
  readonly diskHost: string;
  /** Resolves when what the host found about a key is stored, so that it is shown while the host is unreachable. */
  readonly stored: (key: SetKeyVersion) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Ends every report. */
  readonly signal: AbortSignal;
}

const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;

/**
 * Reports to compute which keys its machines cannot use here, so that they stop although no event flows (G2). One report for
 * each set, key version and loss, repeated until compute accepts it or the loss is over. No caller waits for it.
 * Rules G2, CMK-113.
 */
export class LossReports {
  readonly #parts: ReportParts;
  readonly #reports = new Map<string, Report>();

  constructor(parts: ReportParts) {
    this.#parts = parts;
  }

  /** Sets what is reported about a key; undefined ends the report. A repeat changes nothing. */
  about(key: SetKeyVersion, loss: ReportedLoss | undefined, source: LossSource = 'refusal'): void {
    const name = nameOf(key);
    const known = this.#reports.get(name);
    if (known && loss && isSame(known.loss, loss)) return;
    known?.over.abort();
    this.#reports.delete(name);
    if (!loss) return;
    const report: Report = { loss, parent: parentOf(loss), state: 'pending', over: new AbortController() };
    this.#reports.set(name, report);
    outsideOfCalls(() => void this.#run(key, report, source === 'fact' ? publishedMs : 0));
  }

  /** The state of the report about a key; undefined without one. */
  stateOf(key: SetKeyVersion): ReportState | undefined {
    return this.#reports.get(nameOf(key))?.state;
  }

  async #run(key: SetKeyVersion, report: Report, delayMs: number): Promise<void> {
    const { clock, random, log, signal } = this.#parts;
    const ending = AbortSignal.any([report.over.signal, signal]);
    await clock.sleep(delayMs, ending);
    await this.#waitUntilStored(key, ending);
    for (let failures = 1; !ending.aborted; failures += 1) {
      try {
        await this.#send(key, report, ending);
        report.state = 'accepted';
        return;
      } catch (error) {
        if (ending.aborted) return;
        const isFinal =
          error instanceof Rejection && !error.retryable() && !['UNAUTHENTICATED', 'DATA_LOSS'].includes(error.code);
        if (failures === 1 || isFinal) {
          log.warn('a loss was not reported to compute', { ...key, reason: report.loss.reason, isFinal, error });
        }
        if (isFinal) {
          report.state = 'refused';
          return;
        }
        await clock.sleep(retryMs(failures, random.fraction()), ending);
      }
    }
  }

  async #waitUntilStored(key: SetKeyVersion, ending: AbortSignal): Promise<void> {
    const over = new AbortController();
    await Promise.race([this.#parts.stored(key), this.#parts.clock.sleep(storedMs, over.signal, ending)]);
    over.abort();
  }

  async #send({ set, keyVersion }: SetKeyVersion, { loss, parent }: Report, signal: AbortSignal): Promise<void> {
    const { compute, diskHost } = this.#parts;
    const request = {
      diskHost,
      diskEncryptionSet: set,
      keyVersion,
      reason: loss.reason,
      // The deletion of an identity has no epoch that compute could compare, so compute reads the disks.
      accessEpoch: loss.principal === undefined ? (loss.accessEpoch ?? 0) : 0,
      since: new Date(loss.since),
      traceId: loss.traceId,
    };
    const cause = causeOf(loss, this.#parts.random);
    await context.with(parent, () => compute.reportAccessLost(request, { deadlineMs, signal, cause }));
  }
}

/** What a report follows from: the event that took access away. An outage has none. */
const causeOf = ({ event, correlationId }: ReportedLoss, random: Random): Cause => {
  const cause = { correlationId: correlationId ?? random.uuid(), caller: 'system:disk' };
  return event === undefined ? continuing(cause) : continuing(cause, event);
};

/** Opens the reports of a host. */
export const openLossReports = (parts: ReportParts): LossReports => new LossReports(parts);

const isSame = (one: ReportedLoss, other: ReportedLoss): boolean =>
  one.reason === other.reason && one.accessEpoch === other.accessEpoch && one.since === other.since;

/**
 * A report belongs to the trace of the loss: below the work in which this host received the loss, if that has the same trace,
 * else below the commit that the vault named. If neither is known, it is below the work, and the report names the trace: a
 * parent span that no service exports would leave a hole in the trace.
 */
const parentOf = ({ traceId, traceparent }: ReportedLoss): Context => {
  if (traceId === '') return ROOT_CONTEXT;
  const running = trace.getSpanContext(context.active());
  if (running?.traceId !== traceId && traceIdOf(traceparent) === traceId) return contextFromTraceparent(traceparent);
  return running === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, running);
};
