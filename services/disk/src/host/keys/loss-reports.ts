import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { Rejection } from '@interlock/event-store';
import { outsideOfCalls, type RpcClient } from '@interlock/rpc';
import { type Clock, contextFromTraceparent, type Logger, type Random, traceIdOf } from '@interlock/runtime';
import { type Context, context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { LossSource, SetKeyVersion } from './key-access.ts';
import type { LossFacts } from './key-reasons.ts';

/** What disk hosts need of compute. */
export type ComputeClient = Pick<RpcClient<typeof ComputeServiceDefinition>, 'reportAccessLost'>;

/** What is told: a loss, or an outage that counts as one. */
export type ReportedLoss = Omit<LossFacts, 'reason'> & {
  readonly reason: LossFacts['reason'] | 'KEY_VAULT_UNREACHABLE';
};

/** How far a report is. */
export type ReportState = 'pending' | 'accepted' | 'refused';

/**
 * Tells compute which keys its machines cannot use here, so that they stop also when no event flows (G2). One report a
 * (set, key version) and loss, repeated until compute accepts it or the loss is over. Nothing waits for it.
 */
export interface LossReports {
  /** What is so about a key from now on; undefined for nothing. The same again changes nothing. */
  about(key: SetKeyVersion, loss: undefined): void;
  about(key: SetKeyVersion, loss: ReportedLoss, toldBy: LossSource): void;
  /** How far the report about a key is; undefined where there is none. */
  stateOf(key: SetKeyVersion): ReportState | undefined;
}

/**
 * How long a loss told by the set is not reported: compute hears of it by the same way, and by then its machines have
 * closed their disks. In milliseconds.
 */
const toldBySetMs = 3_000;
/** Waits between tries, in milliseconds: doubling, half of each by chance. */
const retryMs = (failures: number, chance: number): number =>
  Math.min(5_000, 100 * 2 ** (failures - 1)) * (0.5 + chance / 2);
/** How long compute may take to look for machines, in milliseconds. */
const deadlineMs = 10_000;

interface Report {
  readonly loss: ReportedLoss;
  /** Where its calls belong in the traces. */
  readonly parent: Context;
  state: ReportState;
  readonly over: AbortController;
}

/** Nothing is lost yet. Rules G2, CMK-113. */
export const openLossReports = (parts: {
  readonly compute: ComputeClient;
  /** Name of this host. */
  readonly diskHost: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Ends every report. */
  readonly signal: AbortSignal;
}): LossReports => {
  const { compute, diskHost, clock, random, log, signal } = parts;
  const reports = new Map<string, Report>();
  const nameOf = ({ set, keyVersion }: SetKeyVersion): string => `${set}\n${keyVersion}`;

  const run = async ({ set, keyVersion }: SetKeyVersion, report: Report, delayMs: number): Promise<void> => {
    const { loss, parent } = report;
    const ending = AbortSignal.any([report.over.signal, signal]);
    await clock.sleep(delayMs, ending);
    for (let failures = 1; !ending.aborted; failures += 1) {
      try {
        const request = {
          diskHost,
          diskEncryptionSet: set,
          keyVersion,
          reason: loss.reason,
          // Without a number it is the loss of the identity, which is final.
          accessEpoch: loss.accessEpoch ?? Number.MAX_SAFE_INTEGER,
          since: new Date(loss.since),
          traceId: loss.traceId,
        };
        await context.with(parent, () => compute.reportAccessLost(request, { deadlineMs, signal: ending }));
        report.state = 'accepted';
        return;
      } catch (error) {
        if (ending.aborted) return;
        const isFinal =
          error instanceof Rejection && !error.retryable() && !['UNAUTHENTICATED', 'DATA_LOSS'].includes(error.code);
        if (failures === 1 || isFinal) {
          log.warn('compute was not told of a loss', { set, keyVersion, reason: loss.reason, isFinal, error });
        }
        if (isFinal) {
          report.state = 'refused';
          return;
        }
        await clock.sleep(retryMs(failures, random.fraction()), ending);
      }
    }
  };

  return {
    about(key: SetKeyVersion, loss: ReportedLoss | undefined, toldBy: LossSource = 'refusal') {
      const name = nameOf(key);
      const known = reports.get(name);
      if (known && loss && isSame(known.loss, loss)) return;
      known?.over.abort();
      reports.delete(name);
      if (!loss) return;
      const report: Report = { loss, parent: parentOf(loss), state: 'pending', over: new AbortController() };
      reports.set(name, report);
      outsideOfCalls(() => void run(key, report, toldBy === 'fact' ? toldBySetMs : 0));
    },
    stateOf: (key) => reports.get(nameOf(key))?.state,
  };
};

const isSame = (one: ReportedLoss, other: ReportedLoss): boolean =>
  one.reason === other.reason && one.accessEpoch === other.accessEpoch && one.since === other.since;

/**
 * A report belongs to the trace of what it tells: below the work in which this host heard of the loss where that is of the same
 * trace, else below the commit that the vault named. Of neither only the work is left, and the report says which trace is meant:
 * a parent that nobody exports would leave a hole in the trace.
 */
const parentOf = ({ traceId, traceparent }: ReportedLoss): Context => {
  if (traceId === '') return ROOT_CONTEXT;
  const running = trace.getSpanContext(context.active());
  if (running?.traceId !== traceId && traceIdOf(traceparent) === traceId) return contextFromTraceparent(traceparent);
  return running === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, running);
};
