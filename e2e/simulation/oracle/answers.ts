import type { Link, Workload } from '@interlock/rpc';
import { ClientError, type Status } from 'nice-grpc-common';

/** A call that was answered: the service's word reached whoever asked. */
export interface Answered {
  readonly service: Workload;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** True time at which it was sent: what the service decided, it decided later. */
  readonly sentMs: number;
  readonly request: unknown;
  /** Absent when it was refused. */
  readonly answer?: unknown;
  /** Absent when it did what was asked; else the status of the refusal. */
  readonly refusal?: Status;
}

/** A link that tells of every answer it brought back. Streams of answers are not told of. */
export const toldLink =
  (link: Link, service: Workload, nowMs: () => number, listeners: readonly ((answered: Answered) => void)[]): Link =>
  (carry) => {
    const inner = link(carry);
    return {
      ...inner,
      async once(method, request, options) {
        const sentMs = nowMs();
        try {
          const answer = await inner.once(method, request, options);
          for (const listener of listeners) listener({ service, path: method.path, sentMs, request, answer });
          return answer;
        } catch (error) {
          if (error instanceof ClientError) {
            const { code: refusal } = error;
            for (const listener of listeners) listener({ service, path: method.path, sentMs, request, refusal });
          }
          throw error;
        }
      },
    };
  };
