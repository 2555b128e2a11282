import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { each, type Finding } from './findings.ts';

/** The outcome of an action that is expected to be refused, or not. */
export interface Attempt {
  /** The action, as a text. */
  readonly what: string;
  readonly outcome: 'done' | 'refused' | 'unanswered';
  /** gRPC code by name; `OK` when done. */
  readonly code: string;
  /** Machine-readable reason of a refusal; else empty. */
  readonly reason: string;
  /** Milliseconds until the response. */
  readonly tookMs: number;
}

/** Tries an action and returns its outcome. Only responses of services are outcomes; other errors are thrown. */
export const attempt = async (what: string, act: () => Promise<unknown>): Promise<Attempt> => {
  const since = performance.now();
  const tookMs = () => performance.now() - since;
  try {
    await act();
    return { what, outcome: 'done', code: 'OK', reason: '', tookMs: tookMs() };
  } catch (error) {
    if (error instanceof Rejection) {
      const { code, reason } = error;
      return { what, outcome: 'refused', code, reason, tookMs: tookMs() };
    }
    if (error instanceof RpcFailure) {
      return { what, outcome: 'unanswered', code: error.code, reason: '', tookMs: tookMs() };
    }
    throw error;
  }
};

/** `creating a disk: refused ACCESS_DENIED` */
export const inWords = ({ what, outcome, code, reason }: Attempt): string =>
  `${what}: ${outcome === 'done' ? outcome : `${outcome} ${reason || code}`}`;

/** Each of these was refused for the reason. */
export const refused = (attempts: readonly Attempt[], reason: string, prefix = ''): Finding =>
  each(attempts, (one) => one.outcome === 'refused' && one.reason === reason, inWords, prefix);

/** It was done. */
export const done = (one: Attempt): Finding => each([one], ({ outcome }) => outcome === 'done', inWords);
