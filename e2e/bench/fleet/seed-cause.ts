import type { Cause } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';

/** Why a fleet is there: a request of nobody's, with a trace of its own, as long as those of real requests. */
export const seedCause = (): Cause & { readonly traceparent: string } => {
  const id = systemRandom.uuid();
  const hex = (bytes: number): string => Buffer.from(systemRandom.bytes(bytes)).toString('hex');
  return {
    correlationId: id,
    causationId: id,
    caller: `principals/${systemRandom.uuid()}`,
    traceparent: `00-${hex(16)}-${hex(8)}-01`,
  };
};
