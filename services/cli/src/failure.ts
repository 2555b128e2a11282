import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { helpFor, RpcFailure } from '@interlock/rpc';
import { CommanderError } from 'commander';
import { ExitCode, NotSettled, Problem } from './problems.ts';
import { type NameDefaults, shortName } from './request/names.ts';

/** Why a command failed, ready to be shown. */
export interface Failure {
  readonly exitCode: number;
  /** gRPC status, `USAGE` or `FAILED`. */
  readonly code: string;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Trace of this command. */
  readonly trace: string | undefined;
  /** Trace of the access loss that caused the failure, if it is another one. */
  readonly causeTrace: string | undefined;
  readonly help: string | undefined;
}

/** Help of every failure in which a service does not respond. */
const statusHelp = 'Show which services respond: interlock status';

/**
 * Describes an error.
 * @param trace trace of the command that failed; undefined before it has started one
 * @param names with which names are shortened in the help
 */
export function failureOf(error: unknown, trace: string | undefined, names: NameDefaults): Failure {
  const failure = described(error, names);
  const { exitCode, message, metadata, help } = failure;
  const cause = metadata.trace_id || undefined;
  return {
    ...failure,
    message: cutLongWords(message),
    help: help === undefined ? undefined : cutLongWords(withShortNames(help, names)),
    trace: exitCode === ExitCode.usage ? undefined : (failure.trace ?? trace),
    causeTrace: cause === trace ? undefined : cause,
  };
}

type Described = Omit<Failure, 'trace' | 'causeTrace'> & { readonly trace?: string | undefined };

function described(error: unknown, names: NameDefaults): Described {
  if (error instanceof Rejection) {
    const { code, reason, metadata } = error;
    const isUnavailable = code === 'UNAVAILABLE';
    return {
      exitCode: isUnavailable ? ExitCode.unreachable : ExitCode.refused,
      code,
      reason,
      message: withResourceName(error, names),
      metadata,
      help: error.help ?? helpFor(reason, metadata) ?? (isUnavailable ? statusHelp : undefined),
    };
  }
  if (error instanceof RpcFailure) return describedRpcFailure(error);
  if (error instanceof Problem) {
    const { exitCode, code, reason, metadata } = error;
    const message = error instanceof NotSettled && error.addsFacts ? withFacts(error) : error.message;
    return { exitCode, code, reason, message, metadata, help: error.help ?? helpFor(reason, metadata) };
  }
  const isUsage = error instanceof CommanderError;
  return {
    exitCode: isUsage ? ExitCode.usage : ExitCode.refused,
    code: isUsage ? 'USAGE' : 'FAILED',
    reason: isUsage ? 'USAGE' : 'INTERNAL',
    message: (error instanceof Error ? error.message : String(error)).replace(/^error: /, ''),
    metadata: {},
    help: undefined,
  };
}

/** Help per status of a call without a response of its service. */
const rpcFailureHelp: Readonly<Record<string, string>> = {
  INTERNAL: 'The log of the service, in the data folder, says the cause',
  DEADLINE_EXCEEDED: `The service, or one it waits for, does not respond. Wait longer with --timeout. ${statusHelp}`,
};

function describedRpcFailure(error: RpcFailure): Described {
  const isInternal = error.code === 'INTERNAL';
  return {
    exitCode: isInternal ? ExitCode.refused : ExitCode.unreachable,
    code: error.code,
    reason: isInternal ? 'INTERNAL' : 'NO_ANSWER',
    message: plainText(error.message),
    metadata: {},
    trace: error.traceId,
    help: rpcFailureHelp[error.code] ?? statusHelp,
  };
}

/** A message that names no resource gets the resource of the request as a prefix. */
function withResourceName({ message, metadata: { resource } }: Rejection, names: NameDefaults): string {
  const namesOne = /\b(subscriptions|vaults|principals|tenants)\//.test(message);
  return resource === undefined || namesOne || message.includes(resource)
    ? message
    : `${shortName(resource, names)}: ${message}`;
}

function withFacts({ message, metadata: { since, disk, key_version } }: NotSettled): string {
  const facts = [disk, key_version, since && `since ${since}`].filter((fact) => fact && !message.includes(fact));
  return facts.length === 0 ? message : `${message} (${facts.join(', ')})`;
}

/** Full names in a text as the user types them. A scope stays in full. */
export const withShortNames = (text: string, names: NameDefaults): string =>
  text.replace(/(?<!--scope |[\w/])(?:subscriptions|vaults)\/[\w./-]*\w/g, (name) => shortName(name, names));

/** Cuts words that are longer than any name, so that a message stays readable. `a|b|c` counts as several words. */
const cutLongWords = (text: string): string =>
  text.replace(/[^\s/"',:|]{161,}/g, (word) => `${word.slice(0, 80)}… (${word.length} letters)`);

/** The failure for people: one line, then the traces and the help. */
export function failureText({ code, reason, message, trace, causeTrace, help }: Failure): string {
  const title = code === 'USAGE' ? `error: ${message}` : `error: ${code} ${reason}: ${message}`;
  return [
    title.replace(/\s*\n\s*/g, ' '),
    ...(trace === undefined ? [] : [`trace: ${trace}`]),
    ...(causeTrace === undefined ? [] : [`trace of the cause: ${causeTrace}`]),
    ...(help === undefined ? [] : [`help: ${help}`]),
  ].join('\n');
}

/** The failure for programs (`-o json`). */
export function failureJson({ code, reason, message, metadata, trace, causeTrace, help }: Failure): JsonObject {
  const optional = { trace, causeTrace, help };
  const given = Object.entries(optional).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return { error: { code, reason, message, metadata: { ...metadata }, ...Object.fromEntries(given) } };
}

/** What failed, as one line: for lists of services. */
export const problemText = (error: Rejection | RpcFailure): string =>
  error instanceof Rejection ? `${error.code} ${error.reason}: ${error.message}` : plainText(error.message);

/** The text of a connection failure, without the parts that only the authors of grpc-js understand. */
export const plainText = (message: string): string =>
  message.replace(/No connection established\. Last error: (?:Error: )?/, '').replace(/\.?\s*Resolution note:\s*$/, '');
