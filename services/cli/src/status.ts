import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { plainText } from './failure.ts';
import { isObject, methodOf } from './schema.ts';
import { type Session, writeJson } from './session.ts';
import { services } from './settings.ts';

/** How one service does. */
interface ServiceStatus {
  readonly service: Workload;
  readonly state: 'serving' | 'refusing' | 'unreachable';
  /** Round trip of the question, in milliseconds. */
  readonly answerMs: number;
  /** Facts of other services it has not applied yet, and how long the oldest has waited. */
  readonly gap: number;
  readonly lagMs: number;
  readonly parked: number;
  /** Why it does not serve; empty when it does. */
  readonly problem: string;
}

/** Asks every service how it does and shows it. @returns whether all serve */
export async function showStatus(session: Session): Promise<boolean> {
  const found = await Promise.all(services.map((service) => statusOf(service, session)));
  const { terminal, isJson } = session;
  if (isJson) writeJson(terminal, { services: found.map((status) => ({ ...status })) });
  else {
    terminal.out('SERVICE              STATE        ANSWER   GAP  LAG      PARKED');
    for (const { service, state, answerMs, gap, lagMs, parked, problem } of found) {
      const times = `${`${answerMs} ms`.padEnd(8)} ${String(gap).padEnd(4)} ${`${lagMs} ms`.padEnd(8)} ${parked}`;
      terminal.out(`${service.padEnd(20)} ${state.padEnd(12)} ${state === 'serving' ? times : problem}`);
    }
  }
  return found.every(({ state }) => state === 'serving');
}

async function statusOf(service: Workload, { caller, clock }: Session): Promise<ServiceStatus> {
  const since = clock.monotonicMs();
  const base = { service, gap: 0, lagMs: 0, parked: 0 };
  try {
    const { consumers } = await caller.call(service, methodOf(MessagingServiceDefinition, 'ListConsumers'), {});
    const rows = Array.isArray(consumers) ? consumers.filter(isObject) : [];
    const numbers = (field: string): number[] => rows.map((row) => Number(row[field] ?? 0));
    return {
      ...base,
      state: 'serving',
      answerMs: Math.round(clock.monotonicMs() - since),
      gap: sum(numbers('gap')),
      lagMs: Math.max(0, ...numbers('lagMs')),
      parked: sum(numbers('parkedCount')),
      problem: '',
    };
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    const isAnswer = error instanceof Rejection && error.code !== 'UNAVAILABLE';
    const problem =
      error instanceof Rejection ? `${error.code} ${error.reason}: ${error.message}` : plainText(error.message);
    return {
      ...base,
      state: isAnswer ? 'refusing' : 'unreachable',
      answerMs: Math.round(clock.monotonicMs() - since),
      problem,
    };
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
