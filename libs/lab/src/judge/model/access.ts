import type { RecordedEvent } from '@interlock/event-store';
import type { ReadPrincipalEvent, ReadRoleAssignmentEvent } from '../events/identity.ts';
import type {
  AccessPolicies,
  NetworkRules,
  PermissionModel,
  ReadKeyEvent,
  ReadVaultEvent,
} from '../events/key-vault.ts';
import { readEvent } from '../events/recorded.ts';

/** Reasons for which an authority decided about the key, as the published enumeration spells them. */
export const definiteReasons = [
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_DELETED',
  'KEY_PURGED',
  'KEY_VERSION_NOT_FOUND',
  'VAULT_DELETED',
  'ACCESS_DENIED',
  'IDENTITY_DELETED',
] as const;
export type DefiniteReason = (typeof definiteReasons)[number];

export const isDefinite = (reason: string): reason is DefiniteReason =>
  (definiteReasons as readonly string[]).includes(reason);

/** One reason why a principal cannot use a key version. */
export interface AccessBlocker {
  readonly reason: DefiniteReason;
  /** For a date: when it starts to apply, on the vault's wall clock. Absent if a commit decides. */
  readonly fromInstant?: number;
  /** The service that decided it. A decision of identity reaches a vault only within `authzTtl`. */
  readonly owner: 'key-vault' | 'identity';
}

interface Version {
  enabled: boolean;
  notBefore: number | undefined;
  expiresAt: number | undefined;
  /** Whether it has been valid: its start was published, or was in the past when it was set. */
  hasBegun: boolean;
  /** Whether its expiry was published: it stays expired even if a clock is set back. */
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
  readonly resourceGroup: string;
  model: PermissionModel;
  readonly policies: Map<string, ReadonlySet<string>>;
  /** Whether its network rules serve no set: they close it, and trusted services do not pass (CMK-29). */
  isClosed: boolean;
}

/** Parts of the name of a key version. */
interface Place {
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  readonly vaultId: string;
  readonly versionId: string;
}

/** Roles that allow all of get, wrapKey and unwrapKey (CMK-26). */
const encryptionRoles: ReadonlySet<string> = new Set([
  'roles/keyVaultAdministrator',
  'roles/keyVaultCryptoOfficer',
  'roles/keyVaultCryptoUser',
  'roles/keyVaultCryptoServiceEncryptionUser',
]);

/** The three permissions that a set's identity needs (CMK-25). */
const requiredPermissions = ['get', 'wrapKey', 'unwrapKey'] as const;

/** Operations a version needs to be of use to a set (KV-88). */
const requiredOperations = ['wrapKey', 'unwrapKey'] as const;

const isInPast = ({ notBefore, at }: { readonly notBefore?: number; readonly at: number }): boolean =>
  notBefore === undefined || notBefore <= at;

const closes = (rules: NetworkRules | undefined): boolean =>
  rules !== undefined && !rules.bypass && (rules.publicAccessDisabled || rules.defaultAction === 'deny');

const policiesOf = (policies: AccessPolicies): Vault['policies'] =>
  new Map(Object.entries(policies).map(([principal, permissions]) => [principal, new Set(permissions)]));

/**
 * Who may use which key version now. Derived from the committed events of key-vault and identity with rules in their simplest form
 * and without code of the services. The decisions of the services are judged against it.
 */
export class AccessTruth {
  readonly #keys = new Map<string, Key>();
  readonly #vaults = new Map<string, Vault>();
  readonly #roles = new Map<string, { readonly principal: string; readonly role: string; readonly scope: string }>();
  /** Principals that exist. A set names its next identity before that is created. */
  readonly #principals = new Set<string>();
  readonly #deleted = new Set<string>();
  readonly #places = new Map<string, Place>();

  /** @returns whether access may have changed */
  apply(event: RecordedEvent): boolean {
    const { stream } = event;
    const cut = stream.indexOf('-');
    const id = stream.slice(cut + 1);
    switch (stream.slice(0, cut)) {
      case 'key':
        return this.#applyKey(id, readEvent(event));
      case 'vault':
        return this.#applyVault(id, readEvent(event));
      case 'role_assignment':
        return this.#applyRole(id, readEvent(event));
      case 'principal':
        return this.#applyPrincipal(`principals/${id}`, readEvent(event));
      default:
        return false;
    }
  }

  /** Everything that blocks a principal's use of a key version at a moment of the vault's wall clock. */
  blockers(principal: string, keyVersion: string, instant: number): readonly AccessBlocker[] {
    const found: AccessBlocker[] = [];
    const add = (reason: DefiniteReason, owner: AccessBlocker['owner'] = 'key-vault', fromInstant?: number): void => {
      found.push({ reason, owner, ...(fromInstant === undefined ? {} : { fromInstant }) });
    };
    const { key: keyName, versionId, vaultId } = this.#placeOf(keyVersion);
    const key = this.#keys.get(keyName);
    const version = key?.versions.get(versionId);
    const vault = this.#vaults.get(vaultId);
    if (version) {
      if (!version.enabled) add('KEY_DISABLED');
      if (version.notBefore !== undefined && instant < version.notBefore && !version.hasBegun) add('KEY_NOT_YET_VALID');
      if (version.expiresAt !== undefined && (instant >= version.expiresAt || version.hasEnded)) {
        add('KEY_EXPIRED', 'key-vault', Math.min(instant, version.expiresAt));
      }
      if (requiredOperations.some((one) => !version.operations.includes(one))) add('ACCESS_DENIED');
      if (key?.status === 'deleted') add('KEY_DELETED');
    } else add(this.isGone(keyVersion) ? 'KEY_PURGED' : 'KEY_VERSION_NOT_FOUND');
    if (vault?.status === 'deleted') add('VAULT_DELETED');
    if (vault?.isClosed) add('ACCESS_DENIED');
    if (vault && principal !== '' && !this.#isGranted(vault, keyName, principal)) {
      add('ACCESS_DENIED', vault.model === 'access_policy' ? 'key-vault' : 'identity');
    }
    if (!this.#principals.has(principal)) add('IDENTITY_DELETED', 'identity');
    return found;
  }

  /** The next moment after `instant` at which a date of the version starts or stops to apply. */
  nextDate(keyVersion: string, instant: number): number | undefined {
    const version = this.#versionOf(keyVersion);
    const dates = [version?.notBefore, version?.expiresAt].filter((date) => date !== undefined && date > instant);
    return dates.length === 0 ? undefined : Math.min(...dates.map(Number));
  }

  /** Whether data wrapped by the version can never be unwrapped again. */
  isGone(keyVersion: string): boolean {
    const { key, versionId, vaultId } = this.#placeOf(keyVersion);
    return this.#keys.get(key)?.purged.has(versionId) === true || this.#vaults.get(vaultId)?.status === 'purged';
  }

  /** Every version that exists, disabled and deleted ones included: `vaults/<v>/keys/<k>/versions/<version>`. */
  keyVersions(): readonly string[] {
    return [...this.#keys].flatMap(([name, { versions }]) =>
      [...versions.keys()].map((id) => `${name}/versions/${id}`),
    );
  }

  /** Modulus of a version as in its JWK; undefined if it is purged or unknown. */
  modulusOf(keyVersion: string): string | undefined {
    return this.#versionOf(keyVersion)?.n;
  }

  /** Whether a principal was deleted. */
  isDeleted(principal: string): boolean {
    return this.#deleted.has(principal);
  }

  /** Ids of a principal's role assignments. */
  rolesOf(principal: string): readonly string[] {
    return [...this.#roles].filter(([, role]) => role.principal === principal).map(([id]) => id);
  }

  #placeOf(keyVersion: string): Place {
    const known = this.#places.get(keyVersion);
    if (known) return known;
    const [key = '', versionId = ''] = keyVersion.split('/versions/');
    const place = { key, versionId, vaultId: key.split('/')[1] ?? '' };
    this.#places.set(keyVersion, place);
    return place;
  }

  #versionOf(keyVersion: string): Version | undefined {
    const { key, versionId } = this.#placeOf(keyVersion);
    return this.#keys.get(key)?.versions.get(versionId);
  }

  #isGranted(vault: Vault, key: string, principal: string): boolean {
    if (vault.model === 'access_policy') {
      const granted = vault.policies.get(principal);
      return granted !== undefined && (granted.has('all') || requiredPermissions.every((one) => granted.has(one)));
    }
    const scope = `${vault.resourceGroup}/${key}/`;
    for (const role of this.#roles.values()) {
      if (role.principal !== principal || !encryptionRoles.has(role.role)) continue;
      if (role.scope === '/' || scope.startsWith(`${role.scope}/`)) return true;
    }
    return false;
  }

  #applyKey(name: string, event: ReadKeyEvent): boolean {
    const key = this.#keys.get(name) ?? { status: 'active', versions: new Map(), purged: new Set() };
    this.#keys.set(name, key);
    const change = (id: string, to: Partial<Version>): boolean => {
      const version = key.versions.get(id);
      if (version) Object.assign(version, to);
      return true;
    };
    switch (event.type) {
      case 'KeyVersionCreated': {
        const { version, enabled, notBefore, expiresAt, operations, n } = event;
        key.status = 'active';
        const dates = { notBefore, expiresAt, hasBegun: isInPast(event), hasEnded: false };
        key.versions.set(version, { enabled, ...dates, operations, n });
        return true;
      }
      case 'KeyVersionEnabled':
        return change(event.version, { enabled: true });
      case 'KeyVersionDisabled':
        return change(event.version, { enabled: false });
      case 'KeyVersionDatesSet': {
        const { notBefore, expiresAt } = event;
        return change(event.version, { notBefore, expiresAt, hasBegun: isInPast(event), hasEnded: false });
      }
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
  }

  #applyVault(id: string, event: ReadVaultEvent): boolean {
    if (event.type === 'VaultCreated') {
      const { resourceGroup, permissionModel: model, accessPolicies, networkRules } = event;
      const policies = policiesOf(accessPolicies);
      this.#vaults.set(id, { status: 'active', resourceGroup, model, policies, isClosed: closes(networkRules) });
      return true;
    }
    const vault = this.#vaults.get(id);
    if (!vault) return false;
    switch (event.type) {
      case 'AccessPolicySet':
        vault.policies.set(event.principal, new Set(event.permissions));
        return true;
      case 'AccessPolicyRemoved':
        vault.policies.delete(event.principal);
        return true;
      case 'NetworkRulesSet':
        vault.isClosed = closes(event.networkRules);
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
  }

  #applyRole(id: string, event: ReadRoleAssignmentEvent): boolean {
    switch (event.type) {
      case 'RoleAssigned':
        this.#roles.set(id, event);
        return true;
      case 'RoleRemoved':
        return this.#roles.delete(id);
      default:
        return false;
    }
  }

  #applyPrincipal(name: string, event: ReadPrincipalEvent): boolean {
    switch (event.type) {
      case 'PrincipalCreated':
        this.#principals.add(name);
        return true;
      case 'PrincipalDeleted':
        this.#deleted.add(name);
        return this.#principals.delete(name);
      default:
        return false;
    }
  }
}
