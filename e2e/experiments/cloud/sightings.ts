import type { RecordedEvent } from '@interlock/event-store';
import type { SightingRecord } from '@interlock/lab';
import type { Clients } from '../../cloud/clients.ts';
import type { MadeEstate } from './planned-estate.ts';

/** Uses of a key in the audit log of key-vault whose refusal shows that the key is lost. */
const uses = ['KeyUnwrap', 'KeyWrap', 'KeyCheckAccess', 'KeyRewrap'];
const pageSize = 1_000;

/**
 * Refused uses of an estate's keys, from the audit logs of the vaults. A vault that cannot be read at the moment, because it is
 * deleted or key-vault is down, gives none.
 */
export const refusedUses = async (
  { keyVault }: Pick<Clients, 'keyVault'>,
  estate: MadeEstate,
  sinceMs: number,
): Promise<readonly SightingRecord[]> => {
  const found: SightingRecord[] = [];
  for (const { vault } of estate.keys.values()) {
    let pageToken = '';
    do {
      const page = await keyVault
        .listAuditEntries({ parent: vault, startTime: new Date(sinceMs), pageSize, pageToken })
        .catch(() => undefined);
      for (const { operation, result, time, keyVersion, caller, onBehalfOf, reason } of page?.auditEntries ?? []) {
        if (result !== 'REFUSED' || !uses.includes(operation)) continue;
        const seen = `${operation} of ${onBehalfOf || caller}: ${reason}`;
        found.push({ see: 'unwrap-refused', subject: keyVersion, atMs: time?.getTime() ?? 0, seen });
      }
      pageToken = page?.nextPageToken ?? '';
    } while (pageToken !== '');
  }
  return found;
};

/** Losses by a deleted identity: it gets no token, so no vault receives a call from it. @param events of disk-encryption-set */
export const refusedIdentities = (events: readonly RecordedEvent[], sinceMs: number): readonly SightingRecord[] =>
  events.flatMap(({ type, data, time, stream }): readonly SightingRecord[] => {
    const { reason, keyVersion } = Object(data);
    if (type !== 'KeyAccessLost' || time < sinceMs || !/^IDENTITY_/.test(String(reason))) return [];
    return [{ see: 'unwrap-refused', subject: String(keyVersion), atMs: time, seen: `${stream}: ${reason}` }];
  });
