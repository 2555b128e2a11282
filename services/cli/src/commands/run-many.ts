import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { failureOf } from '../failure.ts';
import { table } from '../output/render.ts';
import { NotSettled } from '../problems.ts';
import type { Limiter } from '../request/limiter.ts';
import { fullName, shortName } from '../request/names.ts';
import { isObject, methodOf } from '../request/schema.ts';
import type { Session } from '../session/session.ts';
import type { Verb } from '../verbs/verb.ts';
import type { ServedVerb } from './waiting.ts';

/** The result of one of several calls. */
export type Outcome = { readonly name: string; readonly resource: JsonObject } | RefusedOutcome;

interface RefusedOutcome {
  readonly name: string;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Facts;
}

/** Metadata of a refusal. */
type Facts = Readonly<Record<string, string>>;

/** Most failed names that the error lists. */
const NAMED_MAX = 5;

/**
 * Calls for several resources and shows each outcome. A refusal of one does not stop the others.
 * @param wait waits until a resource has settled; undefined without `--wait`
 * @throws NotSettled with the reason of the first refusal; what `call` throws
 */
export async function runMany(
  verb: Verb,
  call: () => Promise<readonly Outcome[]>,
  wait: ((resource: JsonObject) => Promise<JsonObject>) | undefined,
  session: Session,
): Promise<void> {
  const outcomes = await call();
  const settled =
    wait === undefined ? outcomes : await Promise.all(outcomes.map((one) => settledBy(wait, one, session)));
  const shown = settled.flatMap((one) => ('resource' in one ? [one.resource] : []));
  const refused = settled.flatMap((one) => ('reason' in one ? [one] : []));
  show(verb, shown, refused, session);
  const [first] = refused;
  if (first === undefined) return;
  const { reason, message, metadata } = first;
  const failed = refused.map(({ name }) => shortName(name, session.settings.names));
  const count = `${failed.length} of ${settled.length}`;
  if (failed.length === 1) throw new NotSettled(reason, `${count}: ${failed[0]}: ${message}`, metadata);
  const more = failed.length > NAMED_MAX ? ` … (${failed.length - NAMED_MAX} more)` : '';
  throw new NotSettled(reason, `${count}: ${failed.slice(0, NAMED_MAX).join(', ')}${more}`, metadata, false);
}

function show(
  verb: Verb,
  shown: readonly JsonObject[],
  refused: readonly RefusedOutcome[],
  { terminal, output, settings, trace }: Session,
): void {
  if (output.isDocument) {
    output.write({ done: [...shown], refused: refused.map((one) => ({ ...one })) });
    return;
  }
  const { response, hasEffect } = methodOf(verb.contract, verb.method);
  const deleted = shown.filter((resource) => resource.deleted === true);
  const rest = shown.filter((resource) => resource.deleted !== true);
  for (const { name } of deleted) terminal.out(`${shortName(String(name), settings.names)} is deleted`);
  if (rest.length > 0 && response.fields.length === 0) terminal.out(`done: ${rest.length}`);
  else if (rest.length > 0) terminal.out(table(response, rest, settings.names, output.width));
  // A single refusal is in the error that ends the command.
  for (const { name, reason, message } of refused.length > 1 ? refused : []) {
    terminal.err(`${shortName(name, settings.names)}: ${reason}: ${message}`);
  }
  if (trace !== undefined && refused.length === 0 && hasEffect) terminal.err(`trace: ${trace}`);
}

/**
 * Calls the RPC that takes several names, in as many calls as its limit needs.
 * @param words names as typed, at least one
 * @throws UsageError before the first call; what the first call throws
 */
export async function callTogether(
  verb: ServedVerb,
  words: readonly string[],
  session: Session,
): Promise<readonly Outcome[]> {
  const { many } = verb;
  const [target] = verb.targets ?? [];
  if (many === undefined || target === undefined || !('kind' in target)) throw new Error(`${verb.verb} takes one name`);
  const names = words.map((word) => fullName(target.kind, word, session.settings.names, `<${target.word}>`));
  const outcomes: Outcome[] = [];
  for (let start = 0; start < names.length; start += many.callMax) {
    const called = names.slice(start, start + many.callMax);
    try {
      outcomes.push(...(await callWith(verb, many, called, session)));
    } catch (error) {
      const failure = refusalIn(error, session);
      if (start === 0 || failure === undefined) throw error;
      // The outcomes of the calls before are shown; no further call is made.
      outcomes.push(...called.map((name) => ({ name, ...failure })));
      const left = { reason: 'NOT_CALLED', message: 'not called, because an earlier call failed', metadata: {} };
      outcomes.push(...names.slice(start + many.callMax).map((name) => ({ name, ...left })));
      break;
    }
  }
  return outcomes;
}

/** Makes one call per resource. @param calls by the name as typed @param limited limits how many run at once */
export const callEach = (
  calls: readonly (readonly [word: string, call: () => Promise<JsonObject>])[],
  limited: Limiter,
  session: Session,
): Promise<readonly Outcome[]> =>
  Promise.all(
    calls.map(async ([name, call]): Promise<Outcome> => {
      try {
        return { name, resource: await limited(call) };
      } catch (error) {
        const failure = refusalIn(error, session);
        if (failure === undefined) throw error;
        return { name, ...failure };
      }
    }),
  );

async function callWith(
  { service, contract }: ServedVerb,
  { method, field }: NonNullable<Verb['many']>,
  names: readonly string[],
  { caller }: Session,
): Promise<readonly Outcome[]> {
  const { outcomes } = await caller.call(service, methodOf(contract, method), { [field]: [...names] });
  return names.map((name, n) => {
    const outcome = Array.isArray(outcomes) ? outcomes[n] : undefined;
    const [[kind, value] = []] = Object.entries(isObject(outcome) ? outcome : {});
    if (kind === undefined || !isObject(value)) throw new Error(`${method} returned no outcome for ${name}`);
    if (kind !== 'refused') return { name, resource: value };
    return { name, reason: String(value.reason), message: String(value.message), metadata: factsIn(value.metadata) };
  });
}

const factsIn = (metadata: unknown): Facts =>
  Object.fromEntries(Object.entries(isObject(metadata) ? metadata : {}).map(([name, value]) => [name, String(value)]));

async function settledBy(
  wait: (resource: JsonObject) => Promise<JsonObject>,
  outcome: Outcome,
  session: Session,
): Promise<Outcome> {
  if (!('resource' in outcome)) return outcome;
  const { name } = outcome;
  try {
    return { name, resource: await wait(outcome.resource) };
  } catch (error) {
    const failure = refusalIn(error, session);
    if (failure === undefined) throw error;
    return { name, ...failure };
  }
}

/** Reason and message of a refusal or a missing response; undefined for other errors. */
function refusalIn(error: unknown, { settings }: Session): Omit<RefusedOutcome, 'name'> | undefined {
  if (!(error instanceof NotSettled || error instanceof Rejection || error instanceof RpcFailure)) return undefined;
  const { reason, message, metadata } = failureOf(error, undefined, settings.names);
  return { reason, message: error instanceof RpcFailure ? message : error.message, metadata };
}
