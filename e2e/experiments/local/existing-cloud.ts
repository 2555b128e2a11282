import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Experiment, Lab, Target } from '@interlock/experiment';
import type { Administrator } from '@interlock/local/bootstrap-identities.ts';
import { callControl, controlAt } from '@interlock/local/control/control-client.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import type { ServiceName } from '@interlock/local/services.ts';
import { createScope, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { type OutsideOf, openOutside, tlsInto } from '../../cloud/clients.ts';
import { location } from '../../cloud/world.ts';
import { type CloudAccess, CloudLab } from '../cloud/cloud-lab.ts';
import { eventFeeds } from '../cloud/event-feed.ts';
import { existingEstate } from '../cloud/existing-estate.ts';
import { remoteJournals } from '../cloud/guest-journals.ts';
import { type MadeEstate, makePlannedEstate } from '../cloud/planned-estate.ts';
import { removeEstate } from '../cloud/remove-estate.ts';
import { type LocalParts, workload } from './own-cloud.ts';
import { PartFaults, refusedFaults } from './part-faults.ts';
import { termsOf } from './terms.ts';

/** What a launcher says of its cloud. */
interface Description {
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  readonly natsServers: readonly string[];
  readonly settings: Readonly<Record<string, string | undefined>>;
}

/** The cloud that `npm run up` keeps in a data folder. */
export const existingCloudTarget = (data: string, parts: LocalParts): Target => ({
  name: 'existing',
  refuse: ({ timeline }) => [
    ...refusedFaults(timeline, false),
    ...(existsSync(join(data, 'cloud.json'))
      ? []
      : [
          {
            line: 1,
            message: `no cloud runs on ${data}`,
            cure: 'Start one with npm run up, or name its folder with --data.',
          },
        ]),
  ],
  async open(experiment, signal) {
    const scope = createScope();
    try {
      const { access, administrator } = await connectTo(data, scope, parts);
      refuseSettings(experiment, access.settings);
      if (signal.aborted) throw new Error('the run was interrupted');
      return await openLab(experiment, { access, administrator, scope, parts });
    } catch (error) {
      await scope.close();
      throw error;
    }
  },
});

/** A lab that can only undo, for what a killed runner left. @throws LauncherError if no cloud runs there */
export const labToRecover = async (data: string): Promise<CloudLab> => {
  const scope = createScope();
  const { access } = await connectTo(data, scope, { id: '', say: () => undefined });
  const nothing: MadeEstate = { resourceGroup: '', keys: new Map(), machines: [] };
  const noSteps = { estate: { kind: 'planned', groups: [] }, timeline: [] } as const;
  return new CloudLab(
    access,
    { title: '', seed: 0, settings: {}, steady: [], proof: [], abort: [], expect: [], ...noSteps },
    nothing,
    scope.close,
  );
};

interface Connected {
  readonly access: CloudAccess & { readonly settings: Description['settings'] };
  readonly administrator: Administrator;
}

const connectTo = async (data: string, scope: Scope, { keepEvents }: LocalParts): Promise<Connected> => {
  if (!existsSync(join(data, 'cloud.json')))
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
  return {
    administrator,
    access: {
      clients,
      tls: tlsInto(place),
      feeds: eventFeeds(clients.messaging),
      journals: remoteJournals(clients),
      settings: described.settings,
      terms: termsOf(described.settings),
      versions: { node: process.version },
      faults: new PartFaults({ control, callable: { clients, servers: { nats, postgres } } }),
      ...(keepEvents === undefined ? {} : { keepEvents }),
    },
  };
};

/** A cloud that runs has its settings. @throws Error naming those that the file wants otherwise */
const refuseSettings = ({ settings }: Experiment, has: Description['settings']): void => {
  const other = Object.entries(settings).filter(([name, value]) => has[name] !== value);
  if (other.length === 0) return;
  const wanted = other.map(([name, value]) => `${name}=${value}`).join(' ');
  throw new Error(
    `the cloud runs with other settings than the file: restart it with ${wanted} npm run up, or remove them from the file`,
  );
};

const openLab = async (
  experiment: Experiment,
  { access, administrator, scope, parts }: Connected & { readonly scope: Scope; readonly parts: LocalParts },
): Promise<Lab> => {
  const { clients } = access;
  const { estate } = experiment;
  const groupOf = (name: string): string => `${administrator.subscription}/resourceGroups/${name}`;
  const made =
    estate.kind === 'existing'
      ? await existingEstate(clients, groupOf(estate.resourceGroup))
      : await makePlannedEstate(
          {
            clients,
            clock: systemClock,
            uuid: systemRandom.uuid,
            resourceGroup: groupOf(parts.id),
            location,
            owner: `principals/${administrator.principalId}`,
            tag: systemRandom.uuid().slice(0, 6),
            workload,
          },
          experiment,
        );
  if (estate.kind === 'planned') scope.defer('estate', () => removeEstate(clients, made, systemClock));
  const lab = new CloudLab(access, experiment, made, scope.close);
  await lab.prepare();
  return lab;
};
