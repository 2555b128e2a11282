import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { CommanderError } from 'commander';
import { ClusterProblem } from '../cluster/cluster-problem.ts';
import { NotSettled } from '../commands/settle.ts';
import { TraceNotFound } from '../commands/trace-not-found.ts';
import { OutputProblem } from '../output/output-problem.ts';
import { type NameDefaults, shortName } from '../request/names.ts';
import { UsageError } from '../request/usage-error.ts';
import { NoCloud } from '../session/settings.ts';
import { hintFor, type Known, whoServes } from './hints.ts';

/** How the command line ends. Documented in the README; scripts rely on it. */
export const ExitCode = {
  ok: 0,
  /** Understood and refused, or failed. */
  refused: 1,
  /** What was typed cannot be meant; nothing was sent. */
  usage: 2,
  /** No answer, or one that says to try later. */
  unreachable: 3,
} as const;

/** What went wrong, ready to be shown. */
export interface Failure {
  readonly exitCode: number;
  /** gRPC status, `USAGE` or `FAILED`. */
  readonly code: string;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of this command. */
  readonly trace: string | undefined;
  /** Of what is behind the failure: a key that was taken away. Absent where that is not known, or this very command. */
  readonly causeTrace: string | undefined;
  readonly hint: string | undefined;
}

/** A call without an answer whose work does not end with it. */
export class GoesOn extends Error {
  override readonly name = 'GoesOn';
  /** The command, after `interlock`, that shows what has become of it. */
  readonly look: string;
  declare readonly cause: RpcFailure;
  constructor(cause: RpcFailure, look: string) {
    super(cause.message, { cause });
    this.look = look;
  }
}

/**
 * @param trace trace of the command that failed; absent when none had begun
 * @param known what is behind it, where somebody has looked
 */
export function failureOf(error: unknown, trace: string | undefined, names: NameDefaults, known?: Known): Failure {
  const failure = described(error, trace, names, known);
  const { message, hint } = failure;
  return { ...failure, message: withoutLongWords(message), hint: hint && withoutLongWords(hint) };
}

/**
 * What was typed is told back so that it can be found: of a word longer than any name may be, its beginning is enough. What a
 * flag may be (`a|b|c`) are many words.
 */
const withoutLongWords = (text: string): string =>
  text.replace(/[^\s/"',:|]{161,}/g, (word) => `${word.slice(0, 80)}… (${word.length} letters)`);

function described(error: unknown, trace: string | undefined, names: NameDefaults, known: Known | undefined): Failure {
  const short = (name: string): string => shortName(name, names);
  if (error instanceof Rejection) {
    const { code, reason, metadata } = error;
    const exitCode = code === 'UNAVAILABLE' ? ExitCode.unreachable : ExitCode.refused;
    const causeTrace = causeIn(metadata, trace);
    const message = aboutResource(error, short);
    // Whatever a service could not do for want of another, that is where to look.
    const hint = hintFor(reason, metadata, short, known) ?? (code === 'UNAVAILABLE' ? whoServes : undefined);
    return { exitCode, code, reason, message, metadata, trace, causeTrace, hint };
  }
  if (error instanceof NotSettled) {
    const { reason, message, metadata, told } = error;
    const hint = hintFor(reason, metadata, short, known);
    return {
      exitCode: ExitCode.refused,
      code: 'FAILED',
      reason,
      message: withFacts(message, told),
      metadata,
      trace,
      causeTrace: causeIn(metadata, trace),
      hint,
    };
  }
  if (error instanceof GoesOn) {
    const hint = `the work goes on where it has begun, and the same command again waits for it (--wait: 2m, --timeout for longer); where there is none of it, ${whoServes}; how far it is: interlock ${error.look}`;
    return { ...described(error.cause, trace, names, known), hint };
  }
  const plain = { metadata: {}, trace, causeTrace: undefined };
  if (error instanceof RpcFailure) {
    const isInternal = error.code === 'INTERNAL';
    return {
      ...plain,
      exitCode: isInternal ? ExitCode.refused : ExitCode.unreachable,
      code: error.code,
      reason: isInternal ? 'INTERNAL' : 'NO_ANSWER',
      message: plainText(error.message),
      trace: error.traceId ?? trace,
      hint: isInternal
        ? 'the cause is in the log of the service, in the data folder'
        : error.code === 'DEADLINE_EXCEEDED'
          ? `this service, or one that it waits for, gives no answer: ${whoServes}; give it longer with --timeout`
          : whoServes,
    };
  }
  if (error instanceof NoCloud) {
    const { message } = error;
    return {
      ...plain,
      exitCode: ExitCode.unreachable,
      code: 'UNAVAILABLE',
      reason: 'NO_CLOUD',
      message,
      hint: undefined,
    };
  }
  if (error instanceof OutputProblem) {
    const { message, hint } = error;
    return { ...plain, exitCode: ExitCode.refused, code: 'FAILED', reason: 'OUTPUT_NOT_WRITTEN', message, hint };
  }
  if (error instanceof ClusterProblem) {
    const { message } = error;
    return {
      ...plain,
      exitCode: ExitCode.refused,
      code: 'FAILED',
      reason: 'CLUSTER',
      message,
      hint: undefined,
      trace: undefined,
    };
  }
  if (error instanceof TraceNotFound) {
    const { message } = error;
    return {
      ...plain,
      exitCode: ExitCode.refused,
      code: 'NOT_FOUND',
      reason: 'TRACE_NOT_FOUND',
      message,
      hint: undefined,
    };
  }
  const isUsage = error instanceof UsageError || error instanceof CommanderError;
  return {
    ...plain,
    trace: isUsage ? undefined : trace,
    exitCode: isUsage ? ExitCode.usage : ExitCode.refused,
    code: isUsage ? 'USAGE' : 'FAILED',
    reason: isUsage ? 'USAGE' : 'INTERNAL',
    message: (error instanceof Error ? error.message : String(error)).replace(/^error: /, ''),
    hint: undefined,
  };
}

/** The words of a refusal, with what the request was about before them where they name nothing. */
function aboutResource({ message, metadata: { resource } }: Rejection, short: (name: string) => string): string {
  const isClear = /\b(subscriptions|vaults|principals|tenants)\//.test(message);
  return resource === undefined || isClear || message.includes(resource) ? message : `${short(resource)}: ${message}`;
}

/** One line, then the trace and what to do. */
export function failureText({ code, reason, message, trace, causeTrace, hint }: Failure): string {
  const title = code === 'USAGE' ? `error: ${message}` : `error: ${code} ${reason}: ${message}`;
  return [
    title.replace(/\s*\n\s*/g, ' '),
    ...(trace === undefined ? [] : [`trace: ${trace}`]),
    ...(causeTrace === undefined ? [] : [`trace of the cause: ${causeTrace}`]),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
  ].join('\n');
}

/** The same for `--json`. */
export function failureJson({ code, reason, message, metadata, trace, causeTrace, hint }: Failure): JsonObject {
  const error: JsonObject = { code, reason, message, metadata: { ...metadata } };
  if (trace !== undefined) error.trace = trace;
  if (causeTrace !== undefined) error.causeTrace = causeTrace;
  if (hint !== undefined) error.hint = hint;
  return { error };
}

/** Refusals because of a key carry the trace of the loss. */
function causeIn({ trace_id: cause }: Failure['metadata'], own: string | undefined): string | undefined {
  return cause === undefined || cause === '' || cause === own ? undefined : cause;
}

function withFacts(message: string, { since, disk, key_version }: Failure['metadata']): string {
  const facts = [disk, key_version, since && `since ${since}`].filter((fact) => fact && !message.includes(fact));
  return facts.length === 0 ? message : `${message} (${facts.join(', ')})`;
}

/** What is wrong with a service that was asked how it does. */
export const problemText = (error: Rejection | RpcFailure): string =>
  error instanceof Rejection ? `${error.code} ${error.reason}: ${error.message}` : plainText(error.message);

/** What grpc-js says about a connection, without what only its authors can read. */
export const plainText = (message: string): string =>
  message.replace(/No connection established\. Last error: (?:Error: )?/, '').replace(/\.?\s*Resolution note:\s*$/, '');
