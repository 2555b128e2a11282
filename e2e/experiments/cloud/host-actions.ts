import { Rejection } from '@interlock/event-store';
import { type HostAction, isVmHostTarget, type Step } from '@interlock/lab';
import type { Clients } from '../../cloud/clients.ts';
import { hostOfTarget } from './hosts.ts';
import type { MadeMachine } from './planned-estate.ts';

/** Services that operators of hosts call. */
export type HostClients = Pick<Clients, 'disks' | 'compute'>;

/** What an action on hosts and its undo need. Plain JSON, for `Undo.data`. */
export interface HostUndo {
  /** The host by its number: of `move-disk` the one that receives. */
  readonly host: string;
  /** Full names of the disks that move; empty for other actions. */
  readonly disks: readonly string[];
}

/** What an action and its undo need. Changes nothing. @param step its hosts are named by number */
export const planHostAction = (
  { action, targets: [target = ''], options }: Pick<Step, 'action' | 'targets' | 'options'>,
  machines: readonly MadeMachine[],
): HostUndo => {
  if (action !== 'move-disk') return { host: target, disks: [] };
  const own = machines.filter(({ group }) => group === target);
  if (own.length === 0) throw new Error(`no machine is in the group ${target}`);
  return { host: String(options.to), disks: own.flatMap(({ disks }) => disks.map(({ name }) => name)) };
};

/**
 * Carries out an action on hosts. A move and a drain only begin: the record shows when they are over.
 * @throws RpcFailure or Rejection of a service
 */
export const carryOutHostAction = async (
  { disks, compute }: HostClients,
  action: HostAction,
  { host, disks: moved }: HostUndo,
): Promise<void> => {
  const name = hostOfTarget(host);
  switch (action) {
    case 'drain-host':
      if (isVmHostTarget(host)) await compute.drainVmHost({ name });
      else await disks.drainDiskHost({ name });
      return;
    case 'lose-host': {
      if (isVmHostTarget(host)) {
        await compute.declareVmHostLost({ name });
        return;
      }
      const { folderId } = await disks.getDiskHost({ name });
      await disks.declareDiskHostLost({ name, folderId });
      return;
    }
    case 'move-disk':
      await Promise.all(moved.map((disk) => move({ disks }, disk, name)));
      return;
    default:
      action satisfies never;
  }
};

/** A disk that is there already has nothing to move. */
const move = async ({ disks }: Pick<HostClients, 'disks'>, name: string, diskHost: string): Promise<void> => {
  const { diskHost: present } = await disks.getDisk({ name });
  if (present !== diskHost) await disks.moveDisk({ name, diskHost });
};

/** Opens a drained host again. A lost one is opened by its own process. @throws RpcFailure or Rejection of a service */
export const undoHostAction = async (
  { disks, compute }: HostClients,
  action: HostAction,
  { host }: HostUndo,
): Promise<void> => {
  if (action !== 'drain-host') return;
  const name = hostOfTarget(host);
  try {
    if (isVmHostTarget(host)) await compute.resumeVmHost({ name });
    else await disks.resumeDiskHost({ name });
  } catch (error) {
    // It was declared lost, or deleted, while it was drained.
    if (!(error instanceof Rejection && /LOST|NOT_FOUND/.test(error.reason))) throw error;
  }
};
