import { createHash } from 'node:crypto';
import type { StoredEvent } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { type CloudNames, keyUrl } from '../cloud/names.ts';
import { armIdOf } from '../management/arm.ts';
import { vaultType } from '../vaults/vault-body.ts';

/** Forms of an event: the schema of Event Grid, or CloudEvents 1.0. */
export type EventForm = 'eventgrid' | 'cloudevents';

/**
 * Events that subscribers of the public cloud receive about a vault (KV-110), by the event of key-vault behind them. The public
 * cloud does not publish that a key was disabled, deleted or recovered, so the gateway does not either.
 */
const eventTypes: Readonly<Record<string, string>> = {
  KeyVersionCreated: 'Microsoft.KeyVault.KeyNewVersionCreated',
  KeyVersionNearExpiry: 'Microsoft.KeyVault.KeyNearExpiry',
  KeyVersionExpired: 'Microsoft.KeyVault.KeyExpired',
  AccessPolicySet: 'Microsoft.KeyVault.VaultAccessPolicyChanged',
  AccessPolicyRemoved: 'Microsoft.KeyVault.VaultAccessPolicyChanged',
  PermissionModelSet: 'Microsoft.KeyVault.VaultAccessPolicyChanged',
};

/** A vault whose events are shown: its name, and its resource group as key-vault names it. */
export interface EventVault {
  readonly name: string;
  readonly resourceGroup: string;
}

/** An event as a subscriber receives it (KV-111); undefined for an event of another vault, or one that subscribers do not receive. */
export const eventShown = (
  names: CloudNames,
  vault: EventVault,
  { eventId, stream, type, data, eventTime }: StoredEvent,
  form: EventForm,
): object | undefined => {
  const eventType = eventTypes[type];
  const [, of, key] = /^(?:key|vault)-vaults\/([^/]+)(?:\/keys\/(.+))?$/.exec(stream) ?? [];
  if (eventType === undefined || of !== vault.name) return undefined;
  const topic = armIdOf(names, `${vault.resourceGroup}/vaults/${vault.name}`, vaultType);
  const shown = {
    id: guidOf(eventId),
    subject: key ?? vault.name,
    data: key === undefined ? vaultData(names, vault.name) : keyData(names, vault.name, key, data),
  };
  const time = eventTime?.toISOString();
  return form === 'cloudevents'
    ? { ...shown, source: topic, type: eventType, time, specversion: '1.0' }
    : { ...shown, topic, eventType, eventTime: time, dataVersion: '1', metadataVersion: '1' };
};

const keyData = (names: CloudNames, vault: string, key: string, data: StoredEvent['data']): object => {
  const version = String(data?.version);
  return {
    Id: keyUrl(names, `vaults/${vault}/keys/${key}/versions/${version}`),
    VaultName: vault,
    ObjectType: 'Key',
    ObjectName: key,
    Version: version,
    NBF: secondsOf(data?.notBefore),
    EXP: secondsOf(data?.expiresAt),
  };
};

const vaultData = ({ vaultSuffix }: CloudNames, vault: string): object => ({
  Id: `https://${vault}.${vaultSuffix}`,
  VaultName: vault,
  ObjectType: 'Vault',
  ObjectName: vault,
  Version: null,
  NBF: null,
  EXP: null,
});

/** Unix seconds of a stored instant (milliseconds). */
const secondsOf = (instant: unknown): number | null =>
  typeof instant === 'number' ? Math.floor(instant / 1_000) : null;

/** A GUID that is the same each time the event is read: delivery is at least once, and subscribers recognize repeats by it. */
const guidOf = (eventId: string): string => {
  const hex = createHash('sha256').update(eventId).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
};
