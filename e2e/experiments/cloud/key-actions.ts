import {
  type CallableKeyAction,
  type Choice,
  causeOf,
  choiceOf,
  giveAccessBack,
  isCallableKeyAction,
  type RefusalRecord,
  type Step,
  takeAccess,
} from '@interlock/lab';
import type { KeyState } from '../../cloud/key-state.ts';
import { type CallEffect, events, grantOn, type KeyOwner, serviceOwner } from '../../cloud/service-owner.ts';
import { refusalIn } from './refused.ts';

/** Everything that an action and its undo need. Plain JSON, for `Undo.data`. */
export interface KeyUndo {
  /** Before the action. */
  readonly key: KeyState;
  /** The key of `assign-key`, and its group. */
  readonly to?: KeyState;
  /** UUIDs: the request id of a new version, and one for each role assignment that an undo makes. */
  readonly ids: readonly [string, ...string[]];
  /** What the action removes, if that can be chosen. */
  readonly choice?: Choice;
}

/** The effect of an action or its undo. */
export interface KeyEffect extends CallEffect {
  /** Versions to which it removed or restored access. */
  readonly keyVersions: readonly string[];
  /** Why the set could not use a key that was to replace another, or be replaced. */
  readonly refused?: RefusalRecord;
}

const assign = async ({ clients, ownerToken }: KeyOwner, { key }: KeyUndo, keyUrl: string): Promise<CallEffect> => {
  await clients.sets.assignKey({ name: key.place.set, keyUrl, keyOwnerToken: await ownerToken() });
  return { event: events.ofSet(key, 'KeyAssigned') };
};

/** Actions that give the set another key version. Their undo assigns the version before. */
const replacements = {
  async 'rotate-key'(owner: KeyOwner, undo: KeyUndo) {
    const { keyUrl } = await owner.clients.keyVault.rotateKey({ name: undo.key.place.key, requestId: undo.ids[0] });
    return assign(owner, undo, keyUrl);
  },
  // The grant on the other vault stays: disks that moved are unwrapped with it while they move back.
  async 'assign-key'(owner: KeyOwner, undo: KeyUndo) {
    const { key, to, ids } = undo;
    if (to === undefined) throw new Error('assign-key needs the key to assign: to');
    await grantOn(owner, ids, key.principal, to);
    return assign(owner, undo, to.keyUrl);
  },
};

const isReplacement = (action: CallableKeyAction): action is keyof typeof replacements =>
  Object.hasOwn(replacements, action);

/** Whether calls of services carry the action out. Each target implements `throttle` itself. */
export const isKeyAction = isCallableKeyAction;

/**
 * What a step and its undo need. Reads nothing, so that a service that a fault stopped does not delay an injection.
 * @param key state of the key that the step targets @param to that of the key of `assign-key`
 * @param uuid draws UUIDs that no other step has
 * @throws Error if the step has an option that it cannot have
 */
export const planKeyAction = (
  step: Pick<Step, 'action' | 'options'>,
  { key, to, uuid }: Pick<KeyUndo, 'key' | 'to'> & { readonly uuid: () => string },
): KeyUndo => {
  const choice = choiceOf(step);
  return {
    key,
    ids: [uuid(), ...key.roles.map(uuid)],
    ...(to === undefined ? {} : { to }),
    ...(choice === undefined ? {} : { choice }),
  };
};

/** Carries a key action out. Repeating it has no further effect. @throws RpcFailure or Rejection of a service */
export const carryOutKeyAction = async (
  owner: KeyOwner,
  action: CallableKeyAction,
  undo: KeyUndo,
): Promise<KeyEffect> => {
  const { key, ids, choice } = undo;
  const { keyVersions } = key;
  if (isReplacement(action)) return { ...(await replacements[action](owner, undo)), keyVersions };
  const variant = { cause: causeOf(action), ...(choice === undefined ? {} : { choice }) };
  const [first] = await takeAccess(variant, serviceOwner(owner, key, ids));
  return { ...first, keyVersions };
};

/**
 * Carries out a key action. That the set cannot use a key is an outcome of a replacement, and no failure.
 * @throws RpcFailure or Rejection of a service, for another cause
 */
export const orRefused = async (
  { action, key: { place, keyVersion } }: { readonly action: CallableKeyAction; readonly key: KeyState },
  now: () => number,
  work: () => Promise<KeyEffect>,
): Promise<KeyEffect> => {
  try {
    return await work();
  } catch (error) {
    const refused = isReplacement(action) ? refusalIn(error, now(), { set: place.set, keyVersion }) : undefined;
    if (refused === undefined) throw error;
    return { keyVersions: [], refused };
  }
};

/** Restores the recorded state. Repeating it has no further effect. @throws RpcFailure or Rejection of a service */
export const undoKeyAction = async (owner: KeyOwner, action: CallableKeyAction, undo: KeyUndo): Promise<KeyEffect> => {
  const { key, ids } = undo;
  const { keyVersions } = key;
  if (isReplacement(action)) return { ...(await assign(owner, undo, key.keyUrl)), keyVersions };
  const effects = await giveAccessBack(causeOf(action), serviceOwner(owner, key, ids));
  // A call that had nothing to do shows no commit.
  return { ...effects.findLast(({ event }) => event !== undefined), keyVersions };
};
