import type {
  AuthorizeImpactPreviewRequest,
  AuthorizeImpactPreviewResponse,
  KeyChange,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { type Call, names } from '@interlock/rpc';
import type { VaultAction } from '../access/guard.ts';
import type { AuditDraft } from '../audit/draft.ts';
import type { AuditLog } from '../audit/log.ts';
import { keyNotFound } from '../key/decider.ts';
import { purgedVersionsOf, versionOf } from '../key/key.ts';
import { parseKeyOrVersion, parseVault, type VersionId, versionName } from '../names.ts';
import { vaultNotFound } from '../vault/decider.ts';
import type { KeyPermission } from '../vault/events.ts';
import { type ExistingVault, exists } from '../vault/vault.ts';
import { type CryptographyParts, lookAt } from './use.ts';

type Change = Exclude<KeyChange, 'KEY_CHANGE_UNSPECIFIED' | 'UNRECOGNIZED'>;

/** What each change of a key needs: a permission on it, or a role on its vault. Absent: it cannot happen to a key. */
const keyRights: Readonly<Record<Change, KeyPermission | VaultAction>> = {
  KEY_CHANGE_DISABLE: 'update',
  KEY_CHANGE_EXPIRE: 'update',
  KEY_CHANGE_DELETE: 'delete',
  KEY_CHANGE_PURGE: 'purge',
  KEY_CHANGE_REVOKE: 'keyVault/vaults/write',
};
/** The same for a single version, which can be disabled and expire, but not deleted alone (KV-05). */
const versionRights: Readonly<Partial<Record<KeyChange, KeyPermission>>> = {
  KEY_CHANGE_DISABLE: 'update',
  KEY_CHANGE_EXPIRE: 'update',
};
/** The same for a vault. */
const vaultRights: Readonly<Partial<Record<KeyChange, VaultAction>>> = {
  KEY_CHANGE_DELETE: 'keyVault/vaults/delete',
  KEY_CHANGE_PURGE: 'keyVault/vaults/purge',
  KEY_CHANGE_REVOKE: 'keyVault/vaults/write',
};

/** A caller may preview a change that it may make. Permission comes before existence (KV-82). */
export const impactPreviewApi = (parts: CryptographyParts & { readonly log: AuditLog }) => {
  const { vaults, guard, log } = parts;
  // A preview uses no key: it is answered on hold too, because an operator has to see the effect of a change.
  const looking = { ...parts, holding: { check: () => undefined } };

  const ofVault = async (name: string, change: KeyChange, asker: Asker, entry: AuditDraft): Promise<Previewed> => {
    const vault = parseVault(name, 'name');
    const action =
      vaultRights[change] ?? notApplicable(change, 'a vault is deleted, purged, or has its grants withdrawn');
    if (asker) await guard.managedVault(vault, action, asker, entry);
    const { state } = await vaults.load(vault);
    if (!exists(state)) throw vaultNotFound(vault);
    entry.inVault(vault, state.createdAt);
    return { name: `vaults/${vault}`, refusedWith: refusedWith(change, state) };
  };

  /** The service calls, but the principal that considers the change learns whether the vault exists. */
  const lookFor = async (id: VersionId, { call, asker }: AuditedCall, entry: AuditDraft) => {
    const seen = lookAt(looking, id, call, entry, 'NOT_FOUND');
    if (!asker) return seen;
    return seen.catch(async (error: unknown) => {
      const isMissing = error instanceof Rejection && error.reason === 'VAULT_NOT_FOUND';
      throw isMissing ? await guard.missing(id.vault, asker) : error;
    });
  };

  const permitKey = async (
    id: VersionId,
    right: KeyPermission | VaultAction,
    asking: AuditedCall,
    entry: AuditDraft,
  ) => {
    const { asker } = asking;
    const { vault, key } = await lookFor(id, asking, entry);
    if (id.version !== undefined && versionOf(key, id.version)) entry.about(id.key, id.version);
    if (asker && isVaultAction(right)) await guard.managedVault(id.vault, right, asker, entry);
    else if (asker && !isVaultAction(right)) await guard.permit(id.vault, vault, id.key, [right], asker);
    return { vault, key };
  };

  const ofKey = async (name: string, change: KeyChange, asking: AuditedCall, entry: AuditDraft): Promise<Previewed> => {
    const id = parseKeyOrVersion(name, 'name');
    const rights: Readonly<Partial<Record<KeyChange, KeyPermission | VaultAction>>> =
      id.version === undefined ? keyRights : versionRights;
    const words =
      id.version === undefined ? 'say which change' : 'a version is disabled or expires; name its key for the rest';
    const { vault, key } = await permitKey(id, rights[change] ?? notApplicable(change, words), asking, entry);
    if (key.status === 'absent' || key.status === 'purged') throw keyNotFound(id.key);
    if (id.version === undefined) return { name: id.key, refusedWith: refusedWith(change, vault) };
    const version = versionName(id.key, id.version);
    if (versionOf(key, id.version)) return { name: version, refusedWith: '' };
    const reason = purgedVersionsOf(key).includes(id.version) ? 'KEY_PURGED' : 'KEY_VERSION_NOT_FOUND';
    throw new Rejection('NOT_FOUND', reason, `${version} was not found in this key vault.`, { key_version: version });
  };

  return {
    authorizeImpactPreview: log.audited(
      'ImpactPreview',
      async (request: AuthorizeImpactPreviewRequest, call: Call, entry): Promise<AuthorizeImpactPreviewResponse> => {
        const { name, change } = request;
        const asker = askerOf(request, call);
        if (request.principal !== '') entry.onBehalfOf(request.principal);
        entry.forResource(name);
        const isVault = name.split('/').length === 2;
        return isVault ? ofVault(name, change, asker, entry) : ofKey(name, change, { call, asker }, entry);
      },
    ),
  };
};

/** The principal that considers the change, as the guard takes it; undefined if the right was checked elsewhere. */
type Asker = Pick<Call, 'caller' | 'cause'> | undefined;

/** What may be previewed: its name as the vault writes it, and why the change itself would be refused. */
type Previewed = AuthorizeImpactPreviewResponse;

/** Purge protection holds for every caller (CMK-134). */
const refusedWith = (change: KeyChange, { purgeProtected }: Pick<ExistingVault, 'purgeProtected'>): string =>
  change === 'KEY_CHANGE_PURGE' && purgeProtected ? 'PURGE_PROTECTED' : '';

/** The call of a preview, and the principal that considers the change. */
interface AuditedCall {
  readonly call: Call;
  readonly asker: Asker;
}

const askerOf = (request: AuthorizeImpactPreviewRequest, { cause }: Call): Asker => {
  const { principal, tenant, permittedElsewhere } = request;
  if (principal === '') return undefined;
  // Checked in any case: the principal goes into the audit entry.
  const { principal: id } = names.principal.parse(principal, 'principal');
  if (permittedElsewhere) return undefined;
  const { tenant: tenantId } = names.tenant.parse(tenant, 'tenant');
  return { caller: { kind: 'app', id, name: principal, tenant: tenantId }, cause };
};

const isVaultAction = (right: KeyPermission | VaultAction): right is VaultAction =>
  right.startsWith('keyVault/vaults/');

const notApplicable = (change: KeyChange, words: string): never => {
  throw new Rejection('INVALID_ARGUMENT', 'KEY_CHANGE_NOT_APPLICABLE', `${change} cannot happen to it: ${words}`, {
    field: 'change',
    value: change,
  });
};
