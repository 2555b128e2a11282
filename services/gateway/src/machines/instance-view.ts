import type { InstanceStatus, InstanceView } from '@interlock/contracts/interlock/compute/v1/instance_view.ts';
import type { CloudNames } from '../cloud/names.ts';
import { lastSegment, textForClients } from '../cloud/resource-names.ts';

const levels: Readonly<Record<string, string>> = { WARNING: 'Warning', ERROR: 'Error' };

/** What a machine and its disks are doing, as clients read it (VM-05, VM-06). @param computerName of the machine's OS profile */
export const instanceViewShown = (names: CloudNames, view: InstanceView, computerName: string): unknown => {
  const status = ({ code, level, displayStatus, message, time }: InstanceStatus) => ({
    code,
    level: levels[level] ?? 'Info',
    displayStatus,
    ...(message === '' ? {} : { message: textForClients(names, message) }),
    ...(time && { time: time.toISOString() }),
  });
  return {
    computerName,
    hyperVGeneration: 'V2',
    statuses: view.statuses.map(status),
    disks: view.disks.map(({ name, statuses }) => ({ name: lastSegment(name), statuses: statuses.map(status) })),
  };
};
