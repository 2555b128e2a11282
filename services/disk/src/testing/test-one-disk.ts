import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { EncryptedResource } from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { itemError, type RpcClient } from '@interlock/rpc';

type Client = RpcClient<typeof DiskServiceDefinition>;
type Request<Method extends keyof Client> = NonNullable<Parameters<Client[Method]>[0]>;
type Options = Parameters<Client['openDisks']>[1];

/** Opens one disk with `OpenDisks`. @throws the refusal of that disk */
export const openDisk = async (
  client: Client,
  open: NonNullable<NonNullable<Request<'openDisks'>['items']>[number]['open']>,
  options?: Options,
): Promise<OpenDiskResponse> => {
  const { outcomes } = await client.openDisks({ items: [{ open }] }, options);
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case === 'opened') return outcome.value;
  throw outcome ? itemError(outcome.value, { method: 'OpenDisks', peer: 'disk' }) : new Error('no outcome');
};

/** Closes one disk with `CloseDisks`. @returns the disk afterwards @throws the refusal of that disk */
export const closeDisk = async (
  client: Client,
  closing: NonNullable<Request<'closeDisks'>['closings']>[number],
): Promise<Disk> => {
  const { outcomes } = await client.closeDisks({ closings: [closing] });
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case !== 'closed')
    throw outcome ? itemError(outcome.value, { method: 'CloseDisks', peer: 'disk' }) : new Error('no outcome');
  return client.getDisk({ name: closing.name ?? '' });
};

/** Moves one disk or snapshot with `RewrapDeks`. @throws the refusal of that resource */
export const rewrapDek = async (
  client: Client,
  { name, ...target }: { readonly name: string; readonly targetKeyVersion: string; readonly generation: number },
  options?: Options,
): Promise<EncryptedResource> => {
  const { outcomes } = await client.rewrapDeks({ names: [name], ...target }, options);
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case === 'moved') return outcome.value;
  throw outcome ? itemError(outcome.value, { method: 'RewrapDeks', peer: 'disk' }) : new Error('no outcome');
};
