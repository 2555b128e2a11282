import {
  type FindNewerKeyVersionRequest,
  FindNewerKeyVersionResponse,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import type { Call } from '@interlock/rpc';
import type { AuditLog } from '../audit/log.ts';
import { type ActiveKey, type KeyVersion, versionOf } from '../key/key.ts';
import { obstacleOf } from '../key/usability.ts';
import { type KeyUrls, parseVersion, versionName } from '../names.ts';
import { keyForEncryption } from './disk-access.ts';
import { explained } from './explained.ts';
import { type CryptographyParts, lookAt, refusal } from './use.ts';

/** Which version a set that follows its key moves to (CMK-81): decided here, by the clock that decides about dates. */
export const newerVersionApi = (parts: CryptographyParts & { readonly log: AuditLog; readonly urls: KeyUrls }) => {
  const { clock, log, urls } = parts;
  return {
    findNewerKeyVersion: log.audited(
      'KeyFindNewer',
      async (request: FindNewerKeyVersionRequest, call: Call, entry): Promise<FindNewerKeyVersionResponse> => {
        const id = parseVersion(request.keyVersion, 'key_version');
        entry.forResource(request.resource);
        const observed = await lookAt(parts, id, call, entry, 'FAILED_PRECONDITION');
        const { vault, key } = observed;
        entry.about(id.key, id.version);
        const named = await explained(parts, id, call, observed, async () => {
          const found = versionOf(key, id.version);
          if (vault.status === 'active' && key.status === 'active' && found) return { key, version: found };
          const obstacle = obstacleOf(vault, key, id.version, clock.now());
          throw refusal(versionName(id.key, id.version), obstacle ?? { reason: 'KEY_VERSION_NOT_FOUND' }, 'find newer');
        });
        const newer = newerThan(named.key, named.version);
        const usable = newer.find(({ version }) => obstacleOf(vault, key, version, clock.now()) === undefined);
        const [newest] = newer;
        const obstacle = newest && obstacleOf(vault, key, newest.version, clock.now());
        return FindNewerKeyVersionResponse.fromPartial({
          ...(usable === undefined ? {} : { newer: keyForEncryption(urls, id, vault, usable) }),
          ...(newest === undefined || obstacle === undefined
            ? {}
            : { unusableKeyVersion: versionName(id.key, newest.version), unusableReason: obstacle.reason }),
        });
      },
    ),
  };
};

/** Versions created after this one, the newest first, in the order of the key: the clocks of replicas do not count. */
const newerThan = ({ versions }: ActiveKey, { version }: KeyVersion): readonly KeyVersion[] => {
  const all = Object.values(versions);
  return all.slice(all.findIndex((one) => one.version === version) + 1).toReversed();
};
