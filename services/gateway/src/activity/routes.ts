import type { ActivityLogEntry } from '@interlock/contracts/interlock/compute/v1/activity_log.ts';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { armIdOfName, armTypes, innerNameOfId, lastSegment, textForClients } from '../cloud/resource-names.ts';
import { type Route, route } from '../http/route.ts';
import { type EventQuery, eventQueryOf } from './query.ts';

interface Parts {
  readonly backends: Pick<Backends, 'compute'>;
  readonly names: CloudNames;
}

/** Most entries of a page, and most machines whose logs are merged. */
const pageSize = 1_000;

/** The activity log: what was done to machines, by users and by the platform (VM-44, section 6 of the machine lifecycle). */
export const activityRoutes = ({ backends, names }: Parts): readonly Route[] => [
  route({
    host: 'gateway',
    method: 'GET',
    path: '/subscriptions/:subscription/providers/Microsoft.Insights/eventtypes/management/values',
    does: 'Lists events of machines, newest first; `$filter` by time, group, resource, correlation id',
    handle: async ({ params, query }, caller) => {
      const wanted = eventQueryOf(query.$filter);
      const subscription = names.subscriptions.inner(params.subscription);
      const machines = await machinesOf({ backends, names }, subscription, wanted, caller);
      const logs = await Promise.all(machines.map((name) => logOf(backends, name, caller)));
      const rows = logs
        .flat()
        .filter((entry) => fits(entry, wanted))
        .toSorted((a, b) => timeOf(b) - timeOf(a));
      return { body: { value: rows.map((entry) => eventShown(names, params.subscription, entry)) } };
    },
  }),
];

const machinesOf = async (
  { backends, names }: Parts,
  subscription: string,
  { resource, group, hasMachines }: EventQuery,
  caller: Caller,
): Promise<readonly string[]> => {
  if (!hasMachines) return [];
  // The log of a deleted machine still exists, so its name is not looked up.
  if (resource !== undefined)
    return isMachine(resource) ? [innerNameOfId(names, resource, ['virtualMachines'], '$filter')] : [];
  const parent = group === undefined ? `subscriptions/${subscription}` : groupName(names, subscription, group);
  const { virtualMachines } = await backends.compute.listVirtualMachines({ parent, pageSize }, caller.as('compute'));
  return virtualMachines.map(({ name }) => name);
};

const isMachine = (id: string): boolean =>
  id.toLowerCase().includes(`/providers/${armTypes.virtualMachines}/`.toLowerCase());

const logOf = async (
  { compute }: Parts['backends'],
  name: string,
  caller: Caller,
): Promise<readonly ActivityLogEntry[]> => {
  const entries: ActivityLogEntry[] = [];
  let pageToken = '';
  do {
    const page = await ifFound(compute.listActivityLog({ name, pageSize, pageToken }, caller.as('compute')));
    entries.push(...(page?.entries ?? []));
    pageToken = page?.nextPageToken ?? '';
  } while (pageToken !== '');
  return entries;
};

const timeOf = ({ eventTime }: ActivityLogEntry): number => eventTime?.getTime() ?? 0;

const fits = (entry: ActivityLogEntry, { from, until, correlationId }: EventQuery): boolean =>
  timeOf(entry) >= from &&
  timeOf(entry) <= until &&
  (correlationId === undefined || entry.correlationId.toLowerCase() === correlationId);

const word = (value: string) => ({ value, localizedValue: value });

const statuses: Readonly<Record<string, string>> = {
  STARTED: 'Started',
  ACCEPTED: 'Accepted',
  SUCCEEDED: 'Succeeded',
  FAILED: 'Failed',
  ACTIVE: 'Active',
  RESOLVED: 'Resolved',
};

/** An entry as clients read it. */
export const eventShown = (names: CloudNames, subscriptionId: string, entry: ActivityLogEntry): unknown => {
  const machine = entry.name.split('/').slice(0, 6).join('/');
  const resourceId = armIdOfName(names, machine);
  const id = lastSegment(entry.name);
  const time = entry.eventTime?.toISOString();
  const isUser = entry.category === 'ADMINISTRATIVE';
  const action = `Microsoft.Compute/${entry.operation}`;
  const properties = Object.entries(entry.properties).map(([name, value]) => [name, textForClients(names, value)]);
  return {
    id: `${resourceId}/events/${id}/ticks/${timeOf(entry)}`,
    eventDataId: id,
    correlationId: entry.correlationId,
    operationId: entry.operationId,
    operationName: word(action),
    eventName: word(entry.status === 'STARTED' ? 'BeginRequest' : 'EndRequest'),
    category: word(isUser ? 'Administrative' : 'ResourceHealth'),
    status: word(statuses[entry.status] ?? 'Succeeded'),
    subStatus: word(''),
    level: levelOf(entry),
    eventTimestamp: time,
    submissionTimestamp: time,
    caller: entry.caller.replace('principals/', ''),
    channels: 'Operation',
    description: '',
    authorization: { action, scope: resourceId },
    resourceGroupName: machine.split('/')[3],
    resourceProviderName: word('Microsoft.Compute'),
    resourceType: word(armTypes.virtualMachines),
    resourceId,
    subscriptionId,
    properties: Object.fromEntries(properties),
  };
};

const levelOf = ({ status }: ActivityLogEntry): string => {
  if (status === 'FAILED') return 'Error';
  return status === 'ACTIVE' ? 'Critical' : 'Informational';
};
