import type { UnwrapKeyItem, UnwrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import type { RewrapItem, RewrapKeysResponse } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import type { Findings } from '@interlock/lab/judge/findings';
import { Status } from 'nice-grpc-common';
import { type AuditRow, entriesOf } from '../../../services/key-vault/src/audit/entry.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Responded } from '../truth/responses.ts';

/** Uses of a key by method: the operation on record, and the request field with the version (of a rewrap: the target). */
const uses: Readonly<Record<string, { readonly operation: string; readonly field: string }>> = {
  WrapKey: { operation: 'KeyWrap', field: 'name' },
  UnwrapKey: { operation: 'KeyUnwrap', field: 'name' },
  Rewrap: { operation: 'KeyRewrap', field: 'targetKeyVersion' },
  CheckAccess: { operation: 'KeyCheckAccess', field: 'keyVersion' },
};

/** Refusals that the vault itself decided about a key that exists. */
const decided: ReadonlySet<Status> = new Set([Status.FAILED_PRECONDITION, Status.PERMISSION_DENIED]);

const count = (counts: Map<string, number>, name: string, more = 1): void => {
  counts.set(name, (counts.get(name) ?? 0) + more);
};

/**
 * G9: every use of a key, and every refusal, whose response reached its caller is in the vault's audit log. The log may have
 * more entries, because a response can be lost.
 */
export class AuditJudge {
  readonly #world: Pick<SimulatedCloud, 'onResponse' | 'storeOf'>;
  readonly #responses = new Map<string, number>();

  constructor(world: Pick<SimulatedCloud, 'onResponse' | 'storeOf'>) {
    this.#world = world;
    world.onResponse((responded) => this.#onResponse(responded));
  }

  async checkAll(log: Findings): Promise<void> {
    const recorded = new Map<string, number>();
    const rows = await this.#world.storeOf('key-vault').listRows({ table: 'audit_v1', limit: 1_000_000 });
    for (const entry of rows.flatMap(({ row }) => entriesOf(row as unknown as AuditRow))) {
      // An entry above the rate limit counts for many refusals.
      const { operation, key, result, occurrences = 1 } = entry;
      count(recorded, `${operation} of ${key.split('/versions/')[0]}: ${result}`, occurrences);
    }
    for (const [name, times] of this.#responses) {
      if ((recorded.get(name) ?? 0) >= times) continue;
      log.violate('G9', `${name} is on record ${times} times`, `${recorded.get(name) ?? 0} times`);
      return;
    }
  }

  #onResponse({ service, path, request, refusal, response }: Responded): void {
    if (service !== 'key-vault') return;
    const method = path.slice(path.lastIndexOf('/') + 1);
    if (refusal !== undefined || (method !== 'UnwrapKeys' && method !== 'RewrapKeys')) {
      this.#note(method, request, refusal);
      return;
    }
    // Each item of a batch is a separate use, or refusal.
    const { items } = request as {
      readonly items: readonly (Partial<UnwrapKeyItem> & Partial<RewrapItem>)[];
    };
    const { outcomes } = response as UnwrapKeysResponse | RewrapKeysResponse;
    for (const [n, { unwrap, rewrap }] of items.entries()) {
      const outcome = outcomes[n]?.outcome;
      const code = outcome?.$case === 'refused' ? outcome.value.code : undefined;
      this.#note(unwrap ? 'UnwrapKey' : 'Rewrap', unwrap ?? rewrap, code);
    }
  }

  #note(method: string, request: unknown, refusal: Status | undefined): void {
    if (refusal !== undefined && !decided.has(refusal)) return;
    const use = uses[method];
    if (!use || typeof request !== 'object' || request === null) return;
    const keyVersion: unknown = Reflect.get(request, use.field);
    const result = refusal === undefined ? 'success' : 'refused';
    count(this.#responses, `${use.operation} of ${String(keyVersion).split('/versions/')[0]}: ${result}`);
  }
}
