import type { UnwrapKeyItem, UnwrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import type { RewrapItem, RewrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Status } from 'nice-grpc-common';
import { type AuditRow, entriesOf } from '../../../services/key-vault/src/audit/entry.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Answered } from '../oracle/answers.ts';
import type { HistoryLog } from '../runs/history-log.ts';

/** Uses of a key, by method: how the record calls it, and which field of the request names the version (of a rewrap: the one it ends under). */
const uses: Readonly<Record<string, { readonly operation: string; readonly field: string }>> = {
  WrapKey: { operation: 'KeyWrap', field: 'name' },
  UnwrapKey: { operation: 'KeyUnwrap', field: 'name' },
  Rewrap: { operation: 'KeyRewrap', field: 'targetKeyVersion' },
  CheckAccess: { operation: 'KeyCheckAccess', field: 'keyVersion' },
};

/** Refusals that the vault itself decided about a key that is there. */
const decided: ReadonlySet<Status> = new Set([Status.FAILED_PRECONDITION, Status.PERMISSION_DENIED]);

/**
 * G9: every use of a key, and every refusal, that anybody was answered is on the vault's record. The record may hold
 * more: an answer can be lost on its way.
 */
export const auditJudge = ({ world, log }: { readonly world: SimulatedCloud; readonly log: HistoryLog }) => {
  const answered = new Map<string, number>();
  const count = (counts: Map<string, number>, name: string, more = 1): void => {
    counts.set(name, (counts.get(name) ?? 0) + more);
  };
  const note = (method: string, request: unknown, refusal: Status | undefined): void => {
    if (refusal !== undefined && !decided.has(refusal)) return;
    const use = uses[method];
    if (!use || typeof request !== 'object' || request === null) return;
    const keyVersion: unknown = Reflect.get(request, use.field);
    const result = refusal === undefined ? 'success' : 'refused';
    count(answered, `${use.operation} of ${String(keyVersion).split('/versions/')[0]}: ${result}`);
  };
  world.onAnswer(({ service, path, request, refusal, answer }: Answered) => {
    if (service !== 'key-vault') return;
    const method = path.slice(path.lastIndexOf('/') + 1);
    if (refusal !== undefined || (method !== 'UnwrapKeys' && method !== 'RewrapKeys'))
      return note(method, request, refusal);
    // Each item of a batch is a use, or a refusal, of its own.
    const { items } = request as {
      readonly items: readonly (Partial<UnwrapKeyItem> & Partial<RewrapItem>)[];
    };
    const { outcomes } = answer as UnwrapKeysResponse | RewrapKeysResponse;
    for (const [n, { unwrap, rewrap }] of items.entries()) {
      const outcome = outcomes[n]?.outcome;
      const code = outcome?.$case === 'refused' ? outcome.value.code : undefined;
      note(unwrap ? 'UnwrapKey' : 'Rewrap', unwrap ?? rewrap, code);
    }
  });
  return {
    async checkAll(): Promise<void> {
      const recorded = new Map<string, number>();
      const rows = await world.storeOf('key-vault').listRows({ table: 'audit_v1', limit: 1_000_000 });
      // An entry above the rate limit stands for many refusals.
      for (const { operation, key, result, occurrences = 1 } of rows.flatMap(({ row }) =>
        entriesOf(row as unknown as AuditRow),
      ))
        count(recorded, `${operation} of ${key.split('/versions/')[0]}: ${result}`, occurrences);
      for (const [name, times] of answered) {
        if ((recorded.get(name) ?? 0) >= times) continue;
        log.violate('G9', `${name} is on record ${times} times`, `${recorded.get(name) ?? 0} times`);
        return;
      }
    },
  };
};
