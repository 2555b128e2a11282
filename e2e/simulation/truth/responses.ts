import type { Replica } from '@interlock/host';
import type { Link, Workload } from '@interlock/rpc';
import { ClientError, type Status } from 'nice-grpc-common';

/** A call whose response reached its caller. */
export interface Responded {
  readonly service: Workload;
  /** The process that called; undefined: a caller outside. */
  readonly caller: Replica | undefined;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** True time at which it was sent: the service decided later. */
  readonly sentMs: number;
  readonly request: unknown;
  /** Absent if it was refused. */
  readonly response?: unknown;
  /** Status of the refusal; absent if it succeeded. */
  readonly refusal?: Status;
}

/** A link that reports every response of a unary call to the listeners. */
export const observedLink =
  (
    link: Link,
    ends: Pick<Responded, 'service' | 'caller'>,
    nowMs: () => number,
    listeners: readonly ((responded: Responded) => void)[],
  ): Link =>
  (carry) => {
    const inner = link(carry);
    return {
      ...inner,
      async once(method, request, options) {
        const sentMs = nowMs();
        const report = (end: Pick<Responded, 'response' | 'refusal'>): void => {
          for (const listener of listeners) listener({ ...ends, path: method.path, sentMs, request, ...end });
        };
        try {
          const response = await inner.once(method, request, options);
          report({ response });
          return response;
        } catch (error) {
          if (error instanceof ClientError) report({ refusal: error.code });
          throw error;
        }
      },
    };
  };
