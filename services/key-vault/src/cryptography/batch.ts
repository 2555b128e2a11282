import { type ItemOrigin, type ItemOutcome, onBehalfOf, type Settled, settleTogether } from '@interlock/rpc';
import type { Logger } from '@interlock/runtime';
import type { AuditedCall, AuditedRequest } from '../audit/log.ts';
import { batchMax, settleReady } from '../audit/settle-ready.ts';

/** Handles the items of a batch: each is judged, recorded and answered like a call of its own. */
export type SettleBatch = <Item extends { readonly origin: ItemOrigin | undefined }, Request, Answer>(
  items: readonly Item[],
  call: AuditedCall,
  requestOf: (item: Item) => Request,
  handle: (asked: readonly AuditedRequest<Request>[]) => Promise<readonly Settled<Answer>[]>,
) => Promise<readonly ItemOutcome<Answer>[]>;

/** Opens it. The items of a batch are handled together, so that they share reads, RSA messages and audit commits. */
export const openSettleBatch =
  (log: Logger): SettleBatch =>
  (items, call, requestOf, handle) =>
    settleTogether(items, { sizeMax: batchMax, log }, () =>
      settleReady(items, (item) => ({ request: requestOf(item), call: askingFor(call, item.origin) }), handle),
    );

const askingFor = (call: AuditedCall, origin: ItemOrigin | undefined): AuditedCall => {
  if (origin === undefined) return call;
  const { caller, peer, cause } = call;
  return { caller, peer, cause: onBehalfOf(cause, origin) };
};
