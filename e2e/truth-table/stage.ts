import { randomUUID } from 'node:crypto';
import { systemClock } from '@interlock/runtime';
import { makeKeys } from '../cloud/make-estate.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import type { Content } from './content.ts';
import { attachLun, createFreeDisk, createMember, disksUnderKey, type Member, patient } from './fleet.ts';
import type { Gate } from './gated-driver.ts';
import type { Keyed, Owner } from './inject-loss.ts';
import { machinesIn, reasonOf } from './looking.ts';
import type { Place } from './place.ts';

/** Options of vault and set. */
export interface KeyedOptions {
  readonly model?: 'ACCESS_POLICY' | 'ROLE_ASSIGNMENT' | undefined;
  readonly keyExpiry?: 'NEXT_START';
  readonly purgeProtectionEnabled: boolean;
}

/** Creates a vault, a key, and a set that may use it. */
export const makeKeyed = async (owner: Owner, group: string, requested: KeyedOptions): Promise<Keyed> => {
  const { clock = systemClock } = owner;
  const tag = randomUUID().slice(0, 8);
  const { model, keyExpiry, purgeProtectionEnabled } = requested;
  const made = await makeKeys(
    {
      clients: owner,
      clock,
      uuid: randomUUID,
      resourceGroup: group,
      owner: owner.administrator,
      purgeProtectionEnabled,
    },
    {
      location,
      vaults: [
        { name: `kv-${tag}`, permissions: model === 'ROLE_ASSIGNMENT' ? 'roles' : 'policies', keys: [{ name: 'k1' }] },
      ],
      sets: [
        { name: `set-${tag}`, key: `kv-${tag}/k1`, ...(keyExpiry === undefined ? {} : { keyExpiry: 'next-start' }) },
      ],
    },
  );
  const keyed = made.get(`set-${tag}`);
  if (keyed === undefined) throw new Error(`set-${tag} was not made`);
  const { set } = keyed;
  // Grants take time to take effect, so the call is repeated (CMK-28).
  await until(
    'the set may use its key',
    async () => {
      await createFreeDisk(owner, set, { name: `${group}/disks/first`, sku: 'PREMIUM_SSD', isUnderKey: true });
      return true;
    },
    undefined,
    clock,
  );
  await untilAvailable(owner, keyed);
  return keyed;
};

/** Waits until the set knows that it may use its key. */
export const untilAvailable = (
  { sets, clock }: Pick<Owner, 'sets' | 'clock'>,
  { set, keyVersion }: Keyed,
): Promise<unknown> =>
  until(
    `${set} knows that it may use its key`,
    async () => {
      const { keyAccess } = await sets.getDiskEncryptionSet({ name: set });
      return keyAccess.some((access) => access.keyVersion === keyVersion && access.state === 'AVAILABLE');
    },
    undefined,
    clock,
  );

/** What is in progress when the key is lost. */
export interface Held {
  /** The gates at which machines wait, each with its callers. */
  readonly gates: readonly Gate[];
  /** The outcome of creates and attaches in progress: `done`, or the reason of the refusal. */
  readonly answers: ReadonlyMap<Member, Promise<string>>;
}

/**
 * Creates the machines of a fleet, writes to every disk, and brings each machine into its state. Steps in progress wait
 * at a gate.
 */
export const setStage = async (
  place: Place,
  set: string,
  members: readonly Member[],
  content: Content,
): Promise<Held> => {
  const complete = members.filter(({ state }) => state !== 'being created');
  await Promise.all(complete.map((member) => createMember(place, set, member)));
  await untilPower(place, complete, 'RUNNING');
  await Promise.all(
    complete.map(async (member) => {
      const { vm, attached, state } = member;
      if (attached) {
        await createFreeDisk(place, set, attached);
        await content.writeAsUser(attached);
      }
      for (const disk of disksUnderKey(member).filter((one) => one !== attached)) {
        const io = await content.tryAsGuest(member, disk);
        if (io !== 'continues') throw new Error(`${vm} cannot use ${disk.name} before anything happened: ${io}`);
      }
      if (state === 'stopped' || state === 'starting') await place.compute.powerOffVirtualMachine({ name: vm });
      if (state === 'deallocated') await place.compute.deallocateVirtualMachine({ name: vm });
    }),
  );
  const inState = (...states: readonly Member['state'][]) => members.filter(({ state }) => states.includes(state));
  await untilPower(place, inState('stopped', 'starting'), 'STOPPED');
  await untilPower(place, inState('deallocated'), 'DEALLOCATED');

  const answers = new Map<Member, Promise<string>>();
  const gates: Gate[] = [];
  // Creates come last: a response that is held for one is held for every machine whose disks were opened in the same call.
  const creates = inState('being created');
  for (const wave of [members.filter((member) => !creates.includes(member)), creates]) {
    for (const member of wave) {
      const held = begin(place, set, member);
      if (!held) continue;
      gates.push(held.gate);
      const answer = held.call.then(() => 'done', reasonOf);
      if (member.state === 'attaching' || member.state === 'being created') answers.set(member, answer);
    }
    await allReached(place, gates);
  }
  return { gates, answers };
};

/** @throws Error if something that should wait at a gate does not reach it */
const allReached = async ({ clock }: Place, gates: readonly Gate[]): Promise<void> => {
  const missing = new Set(gates);
  for (const gate of gates) void gate.reached.then(() => missing.delete(gate));
  await until('everything that is held is at its gate', async () => missing.size === 0, undefined, clock);
};

/** Starts the step in which a machine must be, to be held there; `undefined` if it is in none. */
const begin = (
  place: Place,
  set: string,
  member: Member,
): { readonly gate: Gate; readonly call: Promise<unknown> } | undefined => {
  const { driver, compute } = place;
  const { vm: name, os, data, attached, state } = member;
  switch (state) {
    case 'starting':
      return { gate: driver.hold(name, 'start'), call: compute.startVirtualMachine({ name }) };
    case 'stopping':
      return { gate: driver.hold(name, 'stop'), call: compute.powerOffVirtualMachine({ name }) };
    case 'attaching': {
      const gate = driver.hold(name, 'attach');
      const request = { name, disk: attached?.name ?? os.name, lun: attachLun };
      return { gate, call: compute.attachDisk(request, patient) };
    }
    case 'being created': {
      const gate = place.holdOpened(name, 1 + data.length);
      return { gate, call: createMember(place, set, member) };
    }
    case 'running':
    case 'stopped':
    case 'deallocated':
      return undefined;
  }
};

/** Waits until these machines are in a power state. @throws Error that names those that are not */
export const untilPower = async (
  { compute, clock }: Pick<Place, 'compute'> & Pick<Owner, 'clock'>,
  members: readonly Member[],
  power: 'RUNNING' | 'STOPPED' | 'DEALLOCATED',
): Promise<void> => {
  const [first] = members;
  if (!first) return;
  let missing: readonly string[] = [];
  const look = async (): Promise<boolean> => {
    const machines = await machinesIn(compute, first.vm);
    missing = members.filter(({ vm }) => machines.get(vm)?.powerState !== power).map(({ vm }) => vm);
    return missing.length === 0;
  };
  try {
    await until(`all machines are ${power}`, look, undefined, clock);
  } catch (error) {
    throw new Error(`not ${power}: ${missing.join(', ')}`, { cause: error });
  }
};
