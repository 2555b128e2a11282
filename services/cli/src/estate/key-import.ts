import type { JsonObject } from '@bufbuild/protobuf';
import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { EstateKey, EstateVault } from '@interlock/lab';
import { readList } from '../request/pages.ts';
import { methodOf, Service } from '../request/schema.ts';
import { type ImportParts, WAIT_MS } from './import-parts.ts';

/** Role of a set's identity on a vault with roles. */
const USER_ROLE = 'roles/keyVaultCryptoServiceEncryptionUser';
/** Role with which the importer makes keys there. */
const OFFICER_ROLE = 'roles/keyVaultCryptoOfficer';
/** Days that a deleted key can be recovered: the least that a vault takes. */
const RETENTION_DAYS = 7;

/** Makes vaults, keys, versions and grants. */
export class KeyImport {
  readonly #parts: ImportParts;
  /** Versions by key, oldest first. */
  readonly #versions = new Map<string, readonly JsonObject[]>();

  constructor(parts: ImportParts) {
    this.#parts = parts;
  }

  /** Makes a vault that the caller may use, and its keys. */
  async vault({ name: id, location, permissions, keys }: EstateVault): Promise<void> {
    const { existing, parent, estate, session, made } = this.#parts;
    const name = `vaults/${id}`;
    if (!existing.has(name)) {
      const me = { principal: session.caller.principal, keyPermissions: ['ALL'] };
      await this.#call('CreateVault', {
        vaultId: id,
        resourceGroup: parent,
        location: location ?? estate.location,
        purgeProtectionEnabled: true,
        softDeleteRetentionDays: RETENTION_DAYS,
        ...(permissions === 'roles' ? { permissionModel: 'ROLE_ASSIGNMENT' } : { accessPolicies: [me] }),
      });
      made(`vault ${id}`);
    }
    if (permissions === 'roles') await this.#assign(session.caller.principal, OFFICER_ROLE, id);
    for (const key of keys) await this.#key(id, key);
  }

  /** Lets the identity of a set use a vault. */
  async grant(principal: string, id: string): Promise<void> {
    const vault = await this.#call('GetVault', { name: `vaults/${id}` });
    if (vault.permissionModel === 'ROLE_ASSIGNMENT') return this.#assign(principal, USER_ROLE, id);
    const accessPolicy = { principal, keyPermissions: [...setPermissionsOnWire] };
    await this.#call('SetAccessPolicy', { name: `vaults/${id}`, accessPolicy });
  }

  /** The version of a key, with its URL. @param number from 1, the oldest; default: the newest */
  async version(key: string, number: number | undefined): Promise<JsonObject> {
    const all = this.#versions.get(fullKey(key)) ?? [];
    const found = all.at(number === undefined ? -1 : number - 1);
    if (found === undefined) throw new Error(`${key} has no version ${number ?? 'yet'}`);
    return found;
  }

  /** Disables the versions that the file says are disabled. */
  async disableVersions({ name: id, keys }: EstateVault): Promise<void> {
    for (const { name, versions = [] } of keys) {
      const all = this.#versions.get(fullKey(`${id}/${name}`)) ?? [];
      for (const [index, state] of versions.entries()) {
        const version = all[index];
        if (state !== 'disabled' || version === undefined || version.enabled !== true) continue;
        await this.#call('DisableKeyVersion', { name: String(version.name) });
        this.#parts.made(`key ${id}/${name}: version ${index + 1} disabled`);
      }
    }
  }

  async #key(vault: string, { name: id, bits = 2048, versions = ['enabled'] }: EstateKey): Promise<void> {
    const { existing, session, made } = this.#parts;
    const name = `vaults/${vault}/keys/${id}`;
    if (!existing.has(name)) {
      const requestId = session.random.uuid();
      await this.#call('CreateKey', { parent: `vaults/${vault}`, keyId: id, keySizeBits: bits, requestId });
      made(`key ${vault}/${id}`);
    }
    for (let count = (await this.#list(name)).length; count < versions.length; count += 1) {
      await this.#call('RotateKey', { name, requestId: session.random.uuid() });
      made(`key ${vault}/${id}: version ${count + 1}`);
    }
    this.#versions.set(name, await this.#list(name));
  }

  async #list(parent: string): Promise<readonly JsonObject[]> {
    const all = await readList(this.#parts.session.caller, 'key-vault', methodOf(Service.keyVault, 'ListKeyVersions'), {
      parent,
    });
    return all.toSorted((one, other) => Date.parse(String(one.createTime)) - Date.parse(String(other.createTime)));
  }

  /** Assigns a role on a vault, unless it is assigned. */
  async #assign(principal: string, role: string, id: string): Promise<void> {
    const { parent, session, made } = this.#parts;
    const scope = `${parent}/vaults/${id}`;
    const list = methodOf(Service.identity, 'ListRoleAssignments');
    const all = await readList(session.caller, 'identity', list, { principal, scope });
    if (all.some((one) => one.role === role && one.scope === scope)) return;
    const request = { roleAssignmentId: session.random.uuid(), principal, role, scope };
    await session.caller.call('identity', methodOf(Service.identity, 'CreateRoleAssignment'), request);
    made(`role ${role.replace('roles/', '')} on vault ${id}`);
  }

  #call(method: string, request: JsonObject): Promise<JsonObject> {
    const { caller, timeoutMs = WAIT_MS } = this.#parts.session;
    return caller.call('key-vault', methodOf(Service.keyVault, method), request, { deadlineMs: timeoutMs });
  }
}

/** `kv1/k1` in full. */
const fullKey = (key: string): string => key.replace(/^([^/]+)\/([^/]+)$/, 'vaults/$1/keys/$2');
