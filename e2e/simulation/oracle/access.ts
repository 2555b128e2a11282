import type { RecordedEvent } from '@interlock/event-store';
import type { RoleAssignmentEvent } from '../../../services/identity/src/role-assignment/events.ts';
import type { KeyEvent } from '../../../services/key-vault/src/key/events.ts';
import type { AccessPolicies, PermissionModel, VaultEvent } from '../../../services/key-vault/src/vault/events.ts';

/** Why a key version cannot be used, where somebody decided so. The words of the published enumeration. */
export type DefiniteReason =
  | 'KEY_DISABLED'
  | 'KEY_NOT_YET_VALID'
  | 'KEY_EXPIRED'
  | 'KEY_DELETED'
  | 'KEY_PURGED'
  | 'KEY_VERSION_NOT_FOUND'
  | 'VAULT_DELETED'
  | 'ACCESS_DENIED'
  | 'IDENTITY_DELETED';

/** One thing in the way of a key version. */
export interface Obstacle {
  readonly reason: DefiniteReason;
  /** Moment from which the date stands in the way, on the wall clock; absent where a commit is the moment. */
  readonly fromInstant?: number;
  /** Who decided it: identity's word reaches a vault only within `authzTtl`. */
  readonly owner: 'key-vault' | 'identity';
}

interface Version {
  enabled: boolean;
  notBefore: number | undefined;
  expiresAt: number | undefined;
  /** Whether its beginning lies behind it: it was told, or lay in the past when it was set. */
  hasBegun: boolean;
  /** Whether its end was told: it has come for good, whatever a clock that was set back says. */
  hasEnded: boolean;
  operations: readonly string[];
  readonly n: string;
}

interface Key {
  status: 'active' | 'deleted' | 'purged';
  readonly versions: Map<string, Version>;
  readonly purged: Set<string>;
}

interface Vault {
  status: 'active' | 'deleted' | 'purged';
  resourceGroup: string;
  model: PermissionModel;
  policies: Map<string, ReadonlySet<string>>;
}

/** Roles that allow all of get, wrapKey and unwrapKey (CMK-26). */
const encryptionRoles: ReadonlySet<string> = new Set([
  'roles/keyVaultAdministrator',
  'roles/keyVaultCryptoOfficer',
  'roles/keyVaultCryptoUser',
  'roles/keyVaultCryptoServiceEncryptionUser',
]);

/** Whether a window that is set begins no later than it is set. */
const hasBegun = ({ notBefore, at }: { readonly notBefore?: number; readonly at: number }): boolean =>
  notBefore === undefined || notBefore <= at;

/** What a set's identity needs, all three (CMK-25). */
const needed = ['get', 'wrapKey', 'unwrapKey'] as const;
/** What a version has to be for: to a set a key that lacks one is access that was taken (KV-88). */
const neededOperations = ['wrapKey', 'unwrapKey'] as const;

/**
 * Who may use which key version now, told anew from the committed events of key-vault and identity: the rules in their
 * plainest form, not those the services run. What they decide is judged against this.
 */
export interface AccessTruth {
  /** @returns whether anything about access may have changed */
  apply(event: RecordedEvent): boolean;
  /** Everything in the way of a principal's use of a key version at a moment of the vault's wall clock. */
  obstacles(principal: string, keyVersion: string, instant: number): readonly Obstacle[];
  /** The next moment after `instant` at which a date of the version begins or ends to stand in the way. */
  nextDate(keyVersion: string, instant: number): number | undefined;
  /** Whether what is wrapped by the version can never be unwrapped again. */
  isGone(keyVersion: string): boolean;
  /** Every version there is, disabled and deleted ones included: `vaults/<v>/keys/<k>/versions/<version>`. */
  keyVersions(): readonly string[];
  /** Modulus of a version as its JWK has it; undefined for one that is purged or unknown. */
  modulusOf(keyVersion: string): string | undefined;
  /** Whether a principal is gone for good. */
  isDeleted(principal: string): boolean;
  /** Role assignments of a principal, by id. */
  rolesOf(principal: string): readonly string[];
}

export const openAccessTruth = (): AccessTruth => {
  const keys = new Map<string, Key>();
  const vaults = new Map<string, Vault>();
  const roles = new Map<string, { readonly principal: string; readonly role: string; readonly scope: string }>();
  /** Principals that are there; a set names its next identity before that is made. */
  const living = new Set<string>();
  const deleted = new Set<string>();

  const keyNamed = (name: string): Key => {
    const found = keys.get(name) ?? { status: 'active', versions: new Map(), purged: new Set() };
    keys.set(name, found);
    return found;
  };

  const applyKey = (name: string, event: KeyEvent): boolean => {
    const key = keyNamed(name);
    const change = (id: string, to: Partial<Version>): boolean => {
      const version = key.versions.get(id);
      if (version) Object.assign(version, to);
      return true;
    };
    switch (event.type) {
      case 'KeyVersionCreated':
        key.status = 'active';
        key.versions.set(event.version, {
          enabled: event.enabled,
          notBefore: event.notBefore,
          expiresAt: event.expiresAt,
          hasBegun: hasBegun(event),
          hasEnded: false,
          operations: event.operations,
          n: event.n,
        });
        return true;
      case 'KeyVersionEnabled':
        return change(event.version, { enabled: true });
      case 'KeyVersionDisabled':
        return change(event.version, { enabled: false });
      case 'KeyVersionDatesSet':
        return change(event.version, {
          notBefore: event.notBefore,
          expiresAt: event.expiresAt,
          hasBegun: hasBegun(event),
          hasEnded: false,
        });
      case 'KeyVersionBegan':
        return change(event.version, { hasBegun: true });
      case 'KeyVersionExpired':
        return change(event.version, { hasEnded: true });
      case 'KeyOperationsSet':
        return change(event.version, { operations: event.operations });
      case 'KeyDeleted':
        key.status = 'deleted';
        return true;
      case 'KeyRecovered':
        key.status = 'active';
        return true;
      case 'KeyPurged':
        key.status = 'purged';
        for (const id of key.versions.keys()) key.purged.add(id);
        key.versions.clear();
        return true;
      default:
        return false;
    }
  };

  const policiesOf = (policies: AccessPolicies): Vault['policies'] =>
    new Map(Object.entries(policies).map(([principal, permissions]) => [principal, new Set(permissions)]));

  const applyVault = (id: string, event: VaultEvent): boolean => {
    if (event.type === 'VaultCreated') {
      const { resourceGroup, permissionModel: model, accessPolicies } = event;
      vaults.set(id, { status: 'active', resourceGroup, model, policies: policiesOf(accessPolicies) });
      return true;
    }
    const vault = vaults.get(id);
    if (!vault) return false;
    switch (event.type) {
      case 'AccessPolicySet':
        vault.policies.set(event.principal, new Set(event.permissions));
        return true;
      case 'AccessPolicyRemoved':
        vault.policies.delete(event.principal);
        return true;
      case 'PermissionModelSet':
        vault.model = event.permissionModel;
        return true;
      case 'VaultDeleted':
        vault.status = 'deleted';
        return true;
      case 'VaultRecovered':
        vault.status = 'active';
        return true;
      case 'VaultPurged':
        vault.status = 'purged';
        return true;
      default:
        return false;
    }
  };

  const applyRole = (id: string, event: RoleAssignmentEvent): boolean => {
    if (event.type === 'RoleRemoved') return roles.delete(id);
    roles.set(id, event);
    return true;
  };

  interface Place {
    /** `vaults/<v>/keys/<k>` and `<v>` of a key version. */
    readonly key: string;
    readonly vaultId: string;
    /** Of the version. */
    readonly id: string;
  }
  const places = new Map<string, Place>();
  const placeOf = (keyVersion: string): Place => {
    const known = places.get(keyVersion);
    if (known) return known;
    const [key = '', id = ''] = keyVersion.split('/versions/');
    const place = { key, id, vaultId: key.split('/')[1] ?? '' };
    places.set(keyVersion, place);
    return place;
  };
  const versionOf = (keyVersion: string): Version | undefined => {
    const { key, id } = placeOf(keyVersion);
    return keys.get(key)?.versions.get(id);
  };

  const isGranted = (vault: Vault, vaultId: string, key: string, principal: string): boolean => {
    if (vault.model === 'access_policy') {
      const may = vault.policies.get(principal);
      return may !== undefined && (may.has('all') || needed.every((one) => may.has(one)));
    }
    const scope = `${vault.resourceGroup}/vaults/${vaultId}/${key.slice(`vaults/${vaultId}/`.length)}/`;
    for (const role of roles.values()) {
      if (role.principal !== principal || !encryptionRoles.has(role.role)) continue;
      if (role.scope === '/' || scope.startsWith(`${role.scope}/`)) return true;
    }
    return false;
  };

  return {
    apply({ stream, type, data }) {
      const event = { type, ...data } as unknown;
      const cut = stream.indexOf('-');
      const id = stream.slice(cut + 1);
      switch (stream.slice(0, cut)) {
        case 'key':
          return applyKey(id, event as KeyEvent);
        case 'vault':
          return applyVault(id, event as VaultEvent);
        case 'role_assignment':
          return applyRole(id, event as RoleAssignmentEvent);
        case 'principal':
          if (type === 'PrincipalCreated') return living.add(`principals/${id}`).size > 0;
          if (type !== 'PrincipalDeleted') return false;
          deleted.add(`principals/${id}`);
          return living.delete(`principals/${id}`);
        default:
          return false;
      }
    },
    obstacles(principal, keyVersion, instant) {
      const found: Obstacle[] = [];
      const { key: keyName, id, vaultId } = placeOf(keyVersion);
      const add = (reason: DefiniteReason, owner: Obstacle['owner'] = 'key-vault', fromInstant?: number): void => {
        found.push({ reason, owner, ...(fromInstant === undefined ? {} : { fromInstant }) });
      };
      const key = keys.get(keyName);
      const version = key?.versions.get(id);
      const vault = vaults.get(vaultId);
      if (version) {
        if (!version.enabled) add('KEY_DISABLED');
        if (version.notBefore !== undefined && instant < version.notBefore && !version.hasBegun)
          add('KEY_NOT_YET_VALID');
        if (version.expiresAt !== undefined && (instant >= version.expiresAt || version.hasEnded)) {
          add('KEY_EXPIRED', 'key-vault', Math.min(instant, version.expiresAt));
        }
        if (neededOperations.some((one) => !version.operations.includes(one))) add('ACCESS_DENIED');
        if (key?.status === 'deleted') add('KEY_DELETED');
      } else add(key?.purged.has(id) || vault?.status === 'purged' ? 'KEY_PURGED' : 'KEY_VERSION_NOT_FOUND');
      if (vault?.status === 'deleted') add('VAULT_DELETED');
      if (vault && principal !== '' && !isGranted(vault, vaultId, keyName, principal)) {
        add('ACCESS_DENIED', vault.model === 'access_policy' ? 'key-vault' : 'identity');
      }
      if (!living.has(principal)) add('IDENTITY_DELETED', 'identity');
      return found;
    },
    nextDate(keyVersion, instant) {
      const version = versionOf(keyVersion);
      const dates = [version?.notBefore, version?.expiresAt].filter((date) => date !== undefined && date > instant);
      return dates.length === 0 ? undefined : Math.min(...dates.map(Number));
    },
    keyVersions: () =>
      [...keys].flatMap(([name, { versions }]) => [...versions.keys()].map((id) => `${name}/versions/${id}`)),
    isDeleted: (principal) => deleted.has(principal),
    modulusOf: (keyVersion) => versionOf(keyVersion)?.n,
    rolesOf: (principal) => [...roles].filter(([, role]) => role.principal === principal).map(([id]) => id),
    isGone(keyVersion) {
      const { key, id, vaultId } = placeOf(keyVersion);
      return keys.get(key)?.purged.has(id) === true || vaults.get(vaultId)?.status === 'purged';
    },
  };
};
