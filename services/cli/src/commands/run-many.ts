import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { failureOf } from '../hints/failure.ts';
import { table } from '../output/render.ts';
import { fullName, shortName } from '../request/names.ts';
import { isObject, methodOf } from '../request/schema.ts';
import type { Turns } from '../request/turns.ts';
import type { Session } from '../session/session.ts';
import type { Verb } from '../verbs/verb.ts';
import { NotSettled } from './settle.ts';

/** What became of one of many. */
export type Outcome =
  | { readonly name: string; readonly resource: JsonObject }
  | { readonly name: string; readonly reason: string; readonly message: string; readonly metadata: Facts };

/** What the words of a refusal are about, by name: keys, sets, disks. */
type Facts = Readonly<Record<string, string>>;

/** How one that is under way is waited for. @throws NotSettled, or as its look fails */
export type Awaiting = (resource: JsonObject) => Promise<JsonObject>;

/**
 * Asks about many and shows what became of each: one that is refused keeps none of the others from being done.
 * @param ask calls for all of them. @throws what it throws
 * @throws NotSettled with the first refusal's reason where some were refused, failed, or had no answer
 */
export async function runMany(
  verb: Verb,
  ask: () => Promise<readonly Outcome[]>,
  awaiting: Awaiting | undefined,
  session: Session,
): Promise<void> {
  const outcomes = await ask();
  // All of them go on while one is waited for.
  const settled =
    awaiting === undefined ? outcomes : await Promise.all(outcomes.map((one) => settledBy(awaiting, one, session)));
  const shown = settled.flatMap((one) => ('resource' in one ? [one.resource] : []));
  const refused = settled.flatMap((one) => ('reason' in one ? [one] : []));
  show(verb, shown, refused, session);
  const [first] = refused;
  if (first === undefined) return;
  const { reason, message, metadata } = first;
  const failed = refused.map(({ name }) => shortName(name, session.settings.names));
  const count = `${failed.length} of ${settled.length}`;
  if (failed.length === 1) throw new NotSettled(reason, `${count}: ${failed[0]}: ${message}`, metadata);
  const more = failed.length > namedMax ? ` … (${failed.length - namedMax} more)` : '';
  throw new NotSettled(reason, `${count}: ${failed.slice(0, namedMax).join(', ')}${more}`, metadata, {});
}

/** What is shown of those that were done and those that were not. */
function show(
  verb: Verb,
  shown: readonly JsonObject[],
  refused: readonly Extract<Outcome, { reason: string }>[],
  { terminal, output, settings, trace }: Session,
): void {
  if (output.isDocument) {
    output.write({ done: [...shown], refused: refused.map((one) => ({ ...one })) });
    return;
  }
  const { response, hasEffect } = methodOf(verb.contract, verb.method);
  const gone = shown.filter(({ deleted }) => deleted === true);
  const there = shown.filter(({ deleted }) => deleted !== true);
  for (const { name } of gone) terminal.out(`${shortName(String(name), settings.names)} is gone`);
  if (there.length > 0 && response.fields.length === 0) terminal.out(`done: ${there.length}`);
  else if (there.length > 0) terminal.out(table(response, there, settings.names, output.width));
  // One alone is told by the error, which has the trace as well.
  for (const { name, reason, message } of refused.length > 1 ? refused : []) {
    terminal.err(`${shortName(name, settings.names)}: ${reason}: ${message}`);
  }
  if (trace !== undefined && refused.length === 0 && hasEffect) terminal.err(`trace: ${trace}`);
}

/**
 * Calls the RPC that takes many names, as often as its limit asks.
 * @param words names as they were typed, at least one
 * @throws UsageError before anything is sent; what the first call threw
 */
export async function askTogether(
  verb: Verb & { readonly service: Workload },
  words: readonly string[],
  session: Session,
): Promise<readonly Outcome[]> {
  const { many } = verb;
  const [target] = verb.targets ?? [];
  if (many === undefined || target === undefined || !('kind' in target)) throw new Error(`${verb.verb} takes one name`);
  const names = words.map((word) => fullName(target.kind, word, session.settings.names, `<${target.word}>`));
  const outcomes: Outcome[] = [];
  for (let start = 0; start < names.length; start += many.callMax) {
    const asked = names.slice(start, start + many.callMax);
    try {
      outcomes.push(...(await callWith(verb, many, asked, session)));
    } catch (error) {
      const failure = failureWords(error, session);
      // What was done before is told all the same; of whoever gives no answer no more is asked.
      if (start === 0 || failure === undefined) throw error;
      outcomes.push(...asked.map((name) => ({ name, ...failure })));
      const left = { reason: 'NOT_ASKED', message: 'not asked for, after the call before it failed', metadata: {} };
      outcomes.push(...names.slice(start + many.callMax).map((name) => ({ name, ...left })));
      break;
    }
  }
  return outcomes;
}

/**
 * Calls the RPC of one for each of several, a few at a time.
 * @param calls what is called for each, by its name as it was typed. @throws what is no refusal, failure or silence
 */
export const askEach = (
  calls: readonly (readonly [word: string, call: () => Promise<JsonObject>])[],
  turns: Turns,
  session: Session,
): Promise<readonly Outcome[]> =>
  Promise.all(
    calls.map(async ([name, call]): Promise<Outcome> => {
      try {
        return { name, resource: await turns(call) };
      } catch (error) {
        const failure = failureWords(error, session);
        if (failure === undefined) throw error;
        return { name, ...failure };
      }
    }),
  );

/** As many of those that failed are named again in the error. */
const namedMax = 5;

async function callWith(
  { service, contract }: Verb & { readonly service: Workload },
  { method, field }: NonNullable<Verb['many']>,
  names: readonly string[],
  { caller }: Session,
): Promise<readonly Outcome[]> {
  const { outcomes } = await caller.call(service, methodOf(contract, method), { [field]: [...names] });
  return names.map((name, n) => {
    const outcome = Array.isArray(outcomes) ? outcomes[n] : undefined;
    const [[kind, value] = []] = Object.entries(isObject(outcome) ? outcome : {});
    if (kind === undefined || !isObject(value)) throw new Error(`${method} said nothing about ${name}`);
    if (kind !== 'refused') return { name, resource: value };
    return { name, reason: String(value.reason), message: String(value.message), metadata: factsIn(value.metadata) };
  });
}

const factsIn = (metadata: unknown): Facts =>
  Object.fromEntries(Object.entries(isObject(metadata) ? metadata : {}).map(([name, value]) => [name, String(value)]));

/** What fails is the outcome of that one, and no end of the others. */
async function settledBy(awaiting: Awaiting, outcome: Outcome, session: Session): Promise<Outcome> {
  if (!('resource' in outcome)) return outcome;
  const { name } = outcome;
  try {
    return { name, resource: await awaiting(outcome.resource) };
  } catch (error) {
    const failure = failureWords(error, session);
    if (failure === undefined) throw error;
    return { name, ...failure };
  }
}

/** Reason and words of what a service said, or of its silence; undefined of anything else. */
function failureWords(
  error: unknown,
  { settings }: Session,
): { reason: string; message: string; metadata: Facts } | undefined {
  if (!(error instanceof NotSettled || error instanceof Rejection || error instanceof RpcFailure)) return undefined;
  const { reason, message, metadata } = failureOf(error, undefined, settings.names);
  return { reason, message: error instanceof RpcFailure ? message : error.message, metadata };
}
