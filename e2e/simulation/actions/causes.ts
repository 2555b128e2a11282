import { setOperationsOnWire, setPermissionsOnWire } from '@interlock/access/permissions';
import {
  type AccessOwner,
  type CallableCause,
  type Cause,
  type CauseVariant,
  type Choice,
  causes,
  giveAccessBack,
  takeAccess,
  variantsOf,
} from '@interlock/lab/causes';
import { closedToAll, encryptionRole, type KeyState, openToAll } from '../../cloud/key-state.ts';
import { type CallEffect, serviceOwner } from '../../cloud/service-owner.ts';
import { group, keyOf, ownerToken, type PlannedSet, setName, vaultOf } from '../workload/estate.ts';
import { grant, isByRole, renewIdentity } from '../workload/grants.ts';
import { type Attempted, attempt, type Stage } from '../workload/stage.ts';
import { pickByWeight } from './action.ts';

/** How often each cause is played, relative to the others. Purges are actions of their own. */
export const causeWeights: Readonly<Record<Exclude<CallableCause, 'purge-key'>, number>> = {
  'disable-version': 8,
  'disable-key': 4,
  'expire-key': 4,
  'not-yet-valid': 2,
  'delete-key': 3,
  'delete-vault': 2,
  'recover-vault-without-role': 1,
  'remove-policy': 2.5,
  'remove-permission': 2.5,
  'remove-role': 5,
  'remove-operation': 3,
  'set-identity-none': 2,
  'delete-identity': 1,
  'switch-permission-model': 2,
  'close-network': 2,
};

const weighted = Object.entries(causeWeights).flatMap(([name, weight]) =>
  causes.flatMap((cause: Cause) => (cause.name === name ? [{ cause, weight }] : [])),
);

/** Picks a cause that the vault of a key version allows, by weight. */
export const pickCause = (stage: Stage, keyVersion: string): CauseVariant => {
  const model = isByRole(vaultOf(keyVersion)) ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY';
  const { cause } = pickByWeight(
    stage,
    weighted.filter((one) => (one.cause.model ?? model) === model),
  );
  return stage.random.pick(variantsOf([cause]));
};

/** Ends the access of a set to a key version. @returns whether it was done */
export const take = async (
  stage: Stage,
  variant: CauseVariant,
  set: PlannedSet,
  keyVersion: string,
): Promise<boolean> => {
  const key = stateOf(stage, set, keyVersion);
  const { name, lost } = variant.cause;
  const isOfIdentity = lost === 'identity' || lost === 'grant';
  if ((isOfIdentity && key.principal === '') || (name === 'remove-role' && key.roles.length === 0)) return false;
  const results = await takeAccess(variant, attempting(stage, set, key));
  return results.every((result) => result?.outcome.kind === 'ok');
};

/** Restores it. Calls that faults refuse are left: the history restores everything at its end. */
export const giveBack = (stage: Stage, { cause }: CauseVariant, set: PlannedSet, keyVersion: string) =>
  giveAccessBack(cause, attempting(stage, set, stateOf(stage, set, keyVersion)));

/** The planned state of a key, with the identity and the roles that its set has now. */
const stateOf = ({ truth: { losses } }: Stage, set: PlannedSet, keyVersion: string): KeyState => {
  const vault = vaultOf(keyVersion);
  const byRole = isByRole(vault);
  const principal = losses.sets.get(setName(set.id))?.principal ?? '';
  const scope = `${group}/${vault}`;
  const roles = byRole ? losses.access.rolesOf(principal) : [];
  return {
    place: { resourceGroup: group, vault, key: keyOf(keyVersion), set: setName(set.id) },
    keyVersion,
    keyUrl: '',
    keyVersions: [keyVersion],
    operations: setOperationsOnWire,
    networkRules: openToAll,
    vaultEtag: '',
    permissionModel: byRole ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
    principal,
    permissions: setPermissionsOnWire,
    roles: roles.map((id) => ({ name: `roleAssignments/${id}`, role: encryptionRole, scope })),
  };
};

/** A call that was recorded; undefined: calls that record themselves. */
type Recorded = Attempted<CallEffect> | undefined;

/** The owner of the key. Faults may refuse its calls. What is granted again goes to the identity that the set has then. */
const attempting = (stage: Stage, set: PlannedSet, key: KeyState): AccessOwner<Recorded> => {
  const text = `${key.keyVersion} of ${key.place.set}`;
  const recorded = Object.entries(randomOwner(stage, key)).map(([name, call]) => [
    name,
    (choice: Choice) => attempt(stage, `cause.${name}`, [choice ?? [], text].flat().join(' '), () => call(choice)),
  ]);
  const grantAgain = async (): Promise<undefined> => {
    await grant(stage, key.place.vault, key.principal);
    return undefined;
  };
  return {
    ...(Object.fromEntries(recorded) as AccessOwner<Recorded>),
    restorePolicy: grantAgain,
    restoreRoles: grantAgain,
    replaceRoles: grantAgain,
    async replaceIdentity() {
      await renewIdentity(stage, set);
      return undefined;
    },
  };
};

/** How long a key stays invalid without an owner's change, and the latest expiry, in milliseconds. */
const postponedMs = 60_000;
const expiryMs = 5_000;

/** The calls of the services, some of them with choices at random. */
const randomOwner = (stage: Stage, key: KeyState): AccessOwner<CallEffect> => {
  const { clients, random, world } = stage;
  const { keyVault } = clients;
  const now = () => world.clock.now() + random.int(expiryMs);
  const owner = serviceOwner({ clients, now, ownerToken: () => ownerToken(world) }, key, []);
  return {
    ...owner,
    async postpone() {
      const notBefore = new Date(Math.floor((world.clock.now() + postponedMs) / 1_000) * 1_000);
      await keyVault.setKeyVersionDates({ name: key.keyVersion, notBefore });
      return {};
    },
    async removeOperation(operation) {
      if (random.chance(0.8)) return owner.removeOperation(operation);
      await keyVault.setKeyOperations({ name: key.keyVersion, keyOperations: [] });
      return {};
    },
    async closeNetwork() {
      const name = key.place.vault;
      const networkRules = { ...closedToAll, publicAccessDisabled: random.chance(0.5) };
      await keyVault.setNetworkRules({ name, networkRules, confirmName: name });
      return {};
    },
  };
};
