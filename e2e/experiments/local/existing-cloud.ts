import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Target } from '@interlock/lab';
import type { GuestFolder } from '@interlock/lab/judge/journal/history';
import type { Administrator } from '@interlock/local/bootstrap-identities.ts';
import { callControl, controlAt } from '@interlock/local/control/control-client.ts';
import { copiedFrom, LauncherError } from '@interlock/local/data-folder.ts';
import { isDiskHostName, type ServiceName } from '@interlock/local/services.ts';
import { createScope, type Scope } from '@interlock/runtime';
import { type OutsideOf, openOutside, tlsInto } from '../../cloud/clients.ts';
import type { CloudLab } from '../cloud/cloud-lab.ts';
import { eventFeeds } from '../cloud/event-feed.ts';
import { localJournals } from '../cloud/guest-journals.ts';
import { labToUndo, machinesIn, openRunningLab, type RunningCloud } from '../cloud/running-cloud.ts';
import { refuseSettings } from '../cloud/setting-defaults.ts';
import type { LocalParts } from './own-cloud.ts';
import { PartFaults, refusedFaults } from './part-faults.ts';
import { termsOf } from './terms.ts';

/** A launcher's description of its cloud. */
interface Description {
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  readonly natsServers: readonly string[];
  /** The folders of guests. */
  readonly guests: readonly GuestFolder[];
  readonly settings: Readonly<Record<string, string | undefined>>;
}

/** The cloud that `npm run up` runs in a data folder. */
export const existingCloudTarget = (data: string, parts: LocalParts): Target => ({
  name: 'existing',
  refuse: ({ timeline }) => [
    ...refusedFaults(timeline, false),
    ...(runsOn(data)
      ? []
      : [
          {
            line: 1,
            message: `no cloud runs on ${data}`,
            cure: 'Start one with npm run up, or name its folder with --data.',
          },
        ]),
  ],
  existing: (group) => machinesIn((scope) => connectTo(data, scope, parts), group),
  async open(experiment, signal) {
    const scope = createScope();
    try {
      const cloud = await connectTo(data, scope, parts);
      refuseSettings(experiment, cloud.settings, 'restart npm run up with them');
      if (signal.aborted) throw new Error('the run was interrupted');
      return await openRunningLab(experiment, cloud, { scope, id: parts.id });
    } catch (error) {
      await scope.close();
      throw error;
    }
  },
});

/** A lab that can only undo, for the steps that a killed runner left open. @throws LauncherError if no cloud runs there */
export const labToRecover = async (data: string): Promise<CloudLab> => {
  const scope = createScope();
  const { access } = await connectTo(data, scope, { id: '', say: () => undefined });
  return labToUndo(access, scope);
};

/** Whether the folder has the description of a running cloud, and its own: a copy of a folder has that of the other. */
const runsOn = (data: string): boolean => existsSync(join(data, 'cloud.json')) && copiedFrom(data) === undefined;

const connectTo = async (data: string, scope: Scope, { keepEvents }: LocalParts): Promise<RunningCloud> => {
  if (!runsOn(data))
    throw new LauncherError(`no cloud runs on ${data}: start one with npm run up, or name its folder with --data`);
  const cloud = JSON.parse(readFileSync(join(data, 'cloud.json'), 'utf8'));
  const administrator: Administrator = JSON.parse(readFileSync(cloud.administratorFile, 'utf8'));
  const described = await callControl<Description>(cloud.control, 'describe');
  const { addresses, authorityFile } = cloud;
  const place: OutsideOf = { addresses, authorityFile, administrator };
  const outside = openOutside(place);
  scope.defer('clients', outside.close);
  const clients = outside.administrator;
  const { host: postgres } = new URL(described.databaseUrls.identity);
  const { host: nats } = new URL(described.natsServers[0] ?? '');
  const control = controlAt(cloud.control);
  const hasDiskHosts = (await control.processes()).some(({ part }) => isDiskHostName(part));
  return {
    administrator,
    settings: described.settings,
    access: {
      clients,
      tls: tlsInto(place),
      feeds: eventFeeds(clients.messaging),
      journals: localJournals(described.guests),
      terms: termsOf(described.settings),
      versions: { node: process.version },
      faults: new PartFaults({ control, hasDiskHosts, callable: { clients, servers: { nats, postgres } } }),
      ...(keepEvents === undefined ? {} : { keepEvents }),
    },
  };
};
