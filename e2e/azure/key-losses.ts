import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { AccessReason } from '@interlock/access';
import { setPermissions } from '@interlock/access/permissions';
import {
  type AccessOwner,
  type CallableCause,
  type Choice,
  causeOf,
  giveAccessBack,
  takeAccess,
} from '@interlock/lab/causes';
import { until } from '../cloud/until.ts';
import { type ComputeWorld, computeWorld, type GatewayForTests, type VaultWithKey } from './test-compute.ts';

/** A machine stops within the lease time (60 s by default); an event stops it within a moment. */
export const boundMs = 60_000;

/** Dates and state of a key version. */
export interface KeyChange {
  readonly enabled?: boolean;
  readonly expiresOn?: Date;
  readonly notBefore?: Date;
}

/** The state of the machine of a `LossWorld`, as clients show it. */
export interface MachineView {
  /** `PowerState/running` */
  readonly power: string | undefined;
  /** `ProvisioningState/succeeded` */
  readonly provisioning: string | undefined;
  /** Status of the disk under the key. */
  readonly disk: string | undefined;
}

/** The actions of a key's owner and of a machine's user, through one of Azure's clients. */
export interface LossClient {
  /** UUID of the principal that it signs in as. */
  readonly principal: string;
  /** Changes the version that the set uses. */
  changeVersion(change: KeyChange): Promise<unknown>;
  rotateKey(): Promise<unknown>;
  deleteKey(): Promise<unknown>;
  recoverKey(): Promise<unknown>;
  deleteVault(): Promise<unknown>;
  recoverVault(): Promise<unknown>;
  /** Whether roles or access policies count. */
  setRoleModel(hasRoles: boolean): Promise<unknown>;
  /** Gives the current identity of the set the role on the vault. */
  grantRole(): Promise<unknown>;
  removeRole(): Promise<unknown>;
  /** Sets an access policy. @param principal UUID; absent: the identity of the set */
  setPolicy(permissions: readonly string[], principal?: string): Promise<unknown>;
  /** Removes the access policy of the identity of the set. */
  removePolicy(): Promise<unknown>;
  /** Allows the address of this machine only. @param bypass whether trusted services are served */
  closeNetwork(bypass: boolean): Promise<unknown>;
  setIdentity(hasIdentity: boolean): Promise<unknown>;
  /** Creates a key in the same vault and assigns it to the set. */
  moveToNewKey(name: string): Promise<unknown>;
  view(): Promise<MachineView>;
  /** Starts the machine. @returns the code of the refusal; undefined: it started */
  start(): Promise<string | undefined>;
  deallocate(): Promise<unknown>;
  /** A URL that reads the data disk, until `endAccess`. */
  beginAccess(): Promise<string>;
  endAccess(): Promise<unknown>;
}

const past = new Date('2020-01-01T00:00:00Z');
const future = new Date('2035-01-01T00:00:00Z');

const unavailable = (why: string) => () => Promise.reject(new Error(why));

/** An owner of a key, through one of Azure's clients. */
const ownerBy = (client: LossClient): AccessOwner<unknown> => ({
  disableVersion: () => client.changeVersion({ enabled: false }),
  enableVersion: () => client.changeVersion({ enabled: true }),
  disableKey: unavailable("Azure's clients disable versions"),
  enableKey: unavailable("Azure's clients enable versions"),
  expire: () => client.changeVersion({ expiresOn: past }),
  postpone: () => client.changeVersion({ notBefore: new Date('2034-01-01T00:00:00Z') }),
  restoreDates: () => client.changeVersion({ expiresOn: future, notBefore: past }),
  deleteKey: () => client.deleteKey(),
  recoverKey: () => client.recoverKey(),
  purgeKey: unavailable('the vault has purge protection'),
  deleteVault: () => client.deleteVault(),
  recoverVault: () => client.recoverVault(),
  removePolicy: () => client.removePolicy(),
  removePermission: (permission) =>
    client.setPolicy(setPermissions.filter((one) => one !== (permission === 'get' ? 'get' : `${permission}Key`))),
  restorePolicy: () => client.setPolicy(setPermissions),
  removeRoles: () => client.removeRole(),
  restoreRoles: () => client.grantRole(),
  replaceRoles: () => client.grantRole(),
  removeOperation: unavailable('the rehearsal plays it'),
  restoreOperations: unavailable('the rehearsal plays it'),
  switchModel: () => client.setRoleModel(false),
  restoreModel: () => client.setRoleModel(true),
  closeNetwork: () => client.closeNetwork(false),
  // The vault stays behind its firewall for the later ways.
  openNetwork: () => client.closeNetwork(true),
  deleteIdentity: unavailable('the API for principals is not emulated'),
  removeIdentity: () => client.setIdentity(false),
  async replaceIdentity() {
    await client.setIdentity(true);
    await client.grantRole();
  },
});

/** A cause as Azure's clients play it. */
interface LossWay {
  /** Default: the name of the cause. */
  readonly title?: string;
  readonly cause: CallableCause;
  readonly choice?: Choice;
  /** Comes before the loss. */
  readonly before?: (client: LossClient) => Promise<unknown>;
  /** Restores access in place of the calls of the cause. */
  readonly giveBack?: (client: LossClient) => Promise<unknown>;
}

/** The order matters: the vault changes its permission model half way, and the last ways change the key. */
export const ways: readonly LossWay[] = [
  { cause: 'disable-version' },
  { cause: 'expire-key' },
  { cause: 'not-yet-valid' },
  { cause: 'delete-key' },
  { cause: 'remove-role' },
  { cause: 'set-identity-none' },
  { cause: 'close-network' },
  { cause: 'delete-vault' },
  {
    cause: 'switch-permission-model',
    async giveBack(client) {
      await client.setPolicy(['all'], client.principal);
      await client.setPolicy(setPermissions);
    },
  },
  { cause: 'remove-policy' },
  { cause: 'remove-permission', choice: 'unwrap' },
  { title: 'an older key version disabled', cause: 'disable-version', before: (client) => client.rotateKey() },
  {
    title: 'disable-version, and another key assigned to the set',
    cause: 'disable-version',
    giveBack: (client) => client.moveToNewKey('k2'),
  },
];

/** The code of a refused start, as clients of Azure know it. */
const codes: Readonly<Partial<Record<AccessReason, string>>> = {
  KEY_DISABLED: 'KeyVaultKeyNotEnabled',
  KEY_NOT_YET_VALID: 'KeyVaultKeyNotYetValid',
  KEY_EXPIRED: 'KeyVaultAccessForbidden',
  KEY_DELETED: 'KeyVaultKeyNotFound',
  VAULT_DELETED: 'KeyVaultNotFound',
  ACCESS_DENIED: 'KeyVaultAccessForbidden',
  IDENTITY_DELETED: 'KeyVaultAccessTokenCannotBeAcquired',
};

/** The gateway that clients use, and what they sign in as. */
export interface LossGateway extends GatewayForTests {
  /** UUID of the principal of `credential`. */
  readonly clientId: string;
}

/** A gateway with a running machine `vm` in the group `G1`: its data disk `data` is under the set `des1`. */
export interface LossWorld {
  readonly gateway: LossGateway;
  readonly world: ComputeWorld;
  readonly vault: string;
  readonly key: VaultWithKey;
  /** First megabyte of the data disk. */
  readonly content: Buffer;
}

/** Creates it. */
export const openLossWorld = async (gateway: LossGateway, vault: string): Promise<LossWorld> => {
  const world = computeWorld(gateway);
  const key = await world.vaultWithKey(vault);
  const { id: diskEncryptionSetId } = await world.grantedSet('des1', key);
  const { compute, group, location } = world;
  const creationData = { createOption: 'Empty' } as const;
  const encryption = { diskEncryptionSetId };
  await compute.disks.createOrUpdate(group, 'data', { location, creationData, diskSizeGB: 1, encryption });
  const content = randomBytes(1024 * 1024);
  await writeContent(world, content);
  const managedDisk = { id: world.id('Microsoft.Compute/disks', 'data') };
  await compute.virtualMachines.createOrUpdate(group, 'vm', {
    location,
    storageProfile: {
      osDisk: { createOption: 'Empty', name: 'os', diskSizeGB: 1 },
      dataDisks: [{ lun: 0, createOption: 'Attach', managedDisk }],
    },
  });
  return { gateway, world, vault, key, content };
};

const writeContent = async ({ compute, group }: ComputeWorld, content: Buffer): Promise<void> => {
  const { accessSAS = '' } = await compute.disks.grantAccess(group, 'data', { access: 'Write', durationInSeconds: 60 });
  const reply = await fetch(`${accessSAS}&comp=page`, {
    method: 'PUT',
    headers: {
      'content-type': 'application/octet-stream',
      'x-ms-page-write': 'update',
      'x-ms-range': `bytes=0-${content.length - 1}`,
    },
    body: new Uint8Array(content),
  });
  assert.equal(reply.status, 201, await reply.clone().text());
  await compute.disks.revokeAccess(group, 'data');
};

/** The first bytes of the data disk, through a URL, as its owner reads them. */
export const readContent = async (client: LossClient, length: number): Promise<Buffer> => {
  const url = await client.beginAccess();
  try {
    const reply = await fetch(url, { headers: { range: `bytes=0-${length - 1}` } });
    assert.equal(reply.status, 206, await reply.clone().text());
    return Buffer.from(await reply.arrayBuffer());
  } finally {
    await client.endAccess();
  }
};

/** One test for each way to lose the key. @param opened called when a test runs */
export const testEveryLoss = (
  opened: () => { readonly client: LossClient; readonly content: Buffer },
  options: { readonly skip?: string | false } = {},
): void => {
  for (const { cause: name, choice, title = name, before, giveBack } of ways) {
    const cause = causeOf(name);
    const code = codes[cause.reason];
    const what = `CMK-100, CMK-120, CMK-127: ${title}: the machine stops, does not start, and has every byte afterwards`;
    test(what, options, async () => {
      const { client, content } = opened();
      const owner = ownerBy(client);
      await before?.(client);
      await takeAccess({ cause, ...(choice === undefined ? {} : { choice }) }, owner);
      const stopped = async () => {
        const view = await client.view();
        return view.power === 'PowerState/stopped' && view;
      };
      const { disk } = await until('the machine is stopped', stopped, boundMs);
      assert.equal(disk, `ProvisioningState/failed/${code}`);
      assert.equal(await client.start(), code);
      assert.match((await client.view()).provisioning ?? '', /^ProvisioningState\/failed/i);
      await (giveBack === undefined ? giveAccessBack(cause, owner) : giveBack(client));
      await client.deallocate();
      assert.ok(
        content.equals(await until('the disk can be read', () => readContent(client, content.length), boundMs)),
      );
      await until('the machine starts', async () => (await client.start()) === undefined, boundMs);
      assert.equal((await client.view()).power, 'PowerState/running');
    });
  }
};
