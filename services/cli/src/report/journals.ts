import type { JsonObject } from '@bufbuild/protobuf';
import type { IoRecord } from '@interlock/lab';
import type { Caller } from '../request/calls.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';

/** Reads what the guests of a machine recorded since a time. @throws Rejection, RpcFailure */
export async function readJournal(
  { call }: Pick<Caller, 'call'>,
  machine: string,
  fromMs: number,
): Promise<readonly IoRecord[]> {
  const method = methodOf(Service.compute, 'ReadGuestJournal');
  const found: IoRecord[] = [];
  for (let after = ''; ; ) {
    const page = await call('compute', method, { name: machine, after, pageSize: PAGE_SIZE_MAX });
    for (const operation of elementsIn(method, page)) found.push(...recordOf(machine, operation));
    after = String(page.readTo ?? '');
    if (page.atEnd !== false) return found.filter(({ completedMs }) => completedMs >= fromMs);
  }
}

/** An operation as experiments record it; empty if it is not I/O. */
export function recordOf(machine: string, operation: JsonObject): readonly IoRecord[] {
  const kind = String(operation.kind).toLowerCase();
  const op = kind === 'verify' ? 'read' : kind;
  if (op !== 'read' && op !== 'write' && op !== 'flush') return [];
  return [
    {
      machine,
      disk: String(operation.disk),
      op,
      seq: Number(operation.sequence ?? 0),
      invokedMs: Number(operation.invokeTimeMs),
      completedMs: Number(operation.completeTimeMs),
      invokedMonotonicMs: Number(operation.invokeMonotonicMs ?? 0),
      completedMonotonicMs: Number(operation.completeMonotonicMs ?? 0),
      ok: operation.ok === true,
      reason: String(operation.reason ?? ''),
    },
  ];
}
