import type { JsonObject } from '@bufbuild/protobuf';
import { MessagingServiceDefinition } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import type { Caller } from './calls.ts';
import { plainText } from './failure.ts';
import { currentHold } from './hold.ts';
import { isObject, methodOf } from './schema.ts';
import { type Session, writeJson } from './session.ts';
import { services } from './settings.ts';

/** How one service does. */
interface ServiceStatus {
  readonly service: Workload;
  /** `silent`: it serves, and cannot tell the others what happens in it. `on hold`: it lets nobody use a key. */
  readonly state: 'serving' | 'silent' | 'on hold' | 'refusing' | 'unreachable';
  /** Round trip of the question, in milliseconds. */
  readonly answerMs: number;
  /** Facts of other services it has not applied yet, and how long the oldest has waited. */
  readonly gap: number;
  readonly lagMs: number;
  readonly parked: number;
  /** Events of its own it has not told yet. */
  readonly untold: number;
  /** Why it is in no other state than `serving`; empty there. */
  readonly problem: string;
}

/** What the question works with. */
type StatusSession = Pick<Session, 'clock' | 'terminal' | 'isJson'> & { readonly caller: Pick<Caller, 'call'> };

/** Asks every service how it does and shows it. @returns whether all serve and tell */
export async function showStatus(session: StatusSession): Promise<boolean> {
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

async function statusOf(service: Workload, { caller, clock }: StatusSession): Promise<ServiceStatus> {
  const since = clock.monotonicMs();
  const base = { service, gap: 0, lagMs: 0, parked: 0, untold: 0 };
  try {
    const ask = (method: string) => caller.call(service, methodOf(MessagingServiceDefinition, method), {});
    const [{ consumers }, relay] = await Promise.all([ask('ListConsumers'), ask('GetRelay')]);
    const rows = Array.isArray(consumers) ? consumers.filter(isObject) : [];
    const held = holdOf(service === 'key-vault' ? await currentHold(caller) : undefined);
    const silence = silenceOf(relay);
    const problem = held || silence;
    const numbers = (field: string): number[] => rows.map((row) => Number(row[field] ?? 0));
    return {
      ...base,
      state: held !== '' ? 'on hold' : silence !== '' ? 'silent' : 'serving',
      answerMs: Math.round(clock.monotonicMs() - since),
      gap: sum(numbers('gap')),
      lagMs: Math.max(0, ...numbers('lagMs')),
      parked: sum(numbers('parkedCount')),
      untold: Number(relay.gap ?? 0),
      problem,
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

/** Why nobody may use a key; empty when everybody may who may. */
const holdOf = (hold: JsonObject | undefined): string =>
  hold === undefined ? '' : `lets nobody use a key since ${hold.startTime}: ${hold.reason} (interlock hold show)`;

/** Why a service cannot tell what happens in it; empty when it can. */
const silenceOf = ({ failingSince, problem }: JsonObject): string =>
  failingSince === undefined ? '' : `has told nothing since ${failingSince}: ${problem}`;
