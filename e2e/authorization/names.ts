/** Names in one vault. All except `missingKey` and `newKey` are created. */
export interface VaultNames {
  /** `vaults/<v>` */
  readonly vault: string;
  /** Enabled, for uses. */
  readonly key: string;
  /** Enabled: the target of rewraps. */
  readonly targetKey: string;
  /** Its only version is disabled. */
  readonly disabledKey: string;
  /** Created and deleted. */
  readonly deletedKey: string;
  /** Never created: named in changes of keys, so that no cell changes what another cell uses. */
  readonly missingKey: string;
  /** Created by permitted callers. */
  readonly newKey: string;
}

/** Names for the requests and scopes of the table. They are chosen before anything is created, so that grants can come first. */
export interface Names {
  /** Short and random: separates the names of two runs. */
  readonly tag: string;
  readonly platform: '/';
  readonly tenant: string;
  /** A tenant whose principals have no rights here. */
  readonly otherTenant: string;
  readonly subscription: string;
  readonly group: string;
  /** The group of the resources that a request in `group` uses. A role on `group` does not apply there. */
  readonly usedGroup: string;
  /** A neighbouring resource group: a grant there must not apply here. */
  readonly siblingGroup: string;
  readonly policyVault: VaultNames;
  readonly roleVault: VaultNames;
  /** In `usedGroup`. */
  readonly set: string;
  /** Under a key of the platform. */
  readonly disk: string;
  /** The same, with direct access that may only read. */
  readonly readOnlyDisk: string;
  /** A machine without a guest. */
  readonly idleMachine: string;
  /** These are never created. */
  readonly missingDisk: string;
  readonly missingSnapshot: string;
  readonly missingMachine: string;
  /** These, in `usedGroup`, are never created either. */
  readonly usedDisk: string;
  readonly usedSnapshot: string;
  /** Created by permitted callers. */
  readonly newDisk: string;
  readonly newMachine: string;
}

const vaultNames = (vault: string): VaultNames => ({
  vault,
  key: `${vault}/keys/k1`,
  targetKey: `${vault}/keys/k2`,
  disabledKey: `${vault}/keys/off`,
  deletedKey: `${vault}/keys/gone`,
  missingKey: `${vault}/keys/none`,
  newKey: `${vault}/keys/new`,
});

/** Chooses the names. @param tag 1 to 8 lower-case letters and digits */
export const namesFor = (tag: string, { tenant, subscription }: Pick<Names, 'tenant' | 'subscription'>): Names => {
  const group = `${subscription}/resourceGroups/g${tag}`;
  const usedGroup = `${group}-used`;
  return {
    tag,
    platform: '/',
    tenant,
    otherTenant: `tenants/other-${tag}`,
    subscription,
    group,
    usedGroup,
    siblingGroup: `${group}-beside`,
    policyVault: vaultNames(`vaults/policy-${tag}`),
    roleVault: vaultNames(`vaults/role-${tag}`),
    set: `${usedGroup}/diskEncryptionSets/set`,
    disk: `${group}/disks/disk`,
    readOnlyDisk: `${group}/disks/read-only`,
    idleMachine: `${group}/virtualMachines/idle`,
    missingDisk: `${group}/disks/none`,
    missingSnapshot: `${group}/snapshots/none`,
    missingMachine: `${group}/virtualMachines/none`,
    usedDisk: `${usedGroup}/disks/none`,
    usedSnapshot: `${usedGroup}/snapshots/none`,
    newDisk: `${group}/disks/new`,
    newMachine: `${group}/virtualMachines/new`,
  };
};

/** Scope of roles on a vault or a key (KV-73). @param name `vaults/<v>`, or with `/keys/<k>` */
export const scopeInVault = ({ group }: Pick<Names, 'group'>, name: string): string => `${group}/${name}`;

/** Last segment of a name: its id. */
export const idIn = (name: string): string => name.split('/').at(-1) ?? name;
