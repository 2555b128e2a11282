import type { ExistingMachines, Experiment, Lab } from '@interlock/lab';
import type { Administrator } from '@interlock/local/bootstrap-identities.ts';
import { createScope, type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { location } from '../../cloud/world.ts';
import type { CloudAccess } from './cloud-access.ts';
import { CloudLab } from './cloud-lab.ts';
import { existingEstate, existingMachines } from './existing-estate.ts';
import { type MadeEstate, makePlannedEstate } from './planned-estate.ts';
import { removeEstate } from './remove-estate.ts';

/** A cloud that runs before the experiment and continues after it. */
export interface RunningCloud {
  readonly access: CloudAccess;
  /** Settings of its services, by environment variable. */
  readonly settings: Readonly<Record<string, string | undefined>>;
  readonly administrator: Administrator;
}

/** The workload of an estate's guests: the time of the last good operation is known to a few hundredths of a second. */
export const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 40, ioSizeBytes: 4_096 } as const;

/** The machines of a group. The cloud is connected only for that. @throws Error if it has none */
export const machinesIn = async (
  connect: (scope: Scope) => Promise<RunningCloud>,
  group: string,
): Promise<ExistingMachines> => {
  const scope = createScope();
  try {
    const { access, administrator } = await connect(scope);
    return await existingMachines(access.clients, groupName(administrator, group));
  } finally {
    await scope.close();
  }
};

const groupName = ({ subscription }: Administrator, group: string): string => `${subscription}/resourceGroups/${group}`;

/**
 * Opens a lab on the machines of a resource group, or on an estate that is created for it and removed with it.
 * @param id of the run @param keeps leaves that estate: its cloud is removed soon
 */
export const openRunningLab = async (
  experiment: Experiment,
  { access, administrator }: RunningCloud,
  { scope, id, keeps = false }: { readonly scope: Scope; readonly id: string; readonly keeps?: boolean },
): Promise<Lab> => {
  const { clients } = access;
  const { estate } = experiment;
  const made =
    estate.kind === 'existing'
      ? await existingEstate(clients, groupName(administrator, estate.resourceGroup))
      : await makePlannedEstate(
          {
            clients,
            clock: systemClock,
            uuid: systemRandom.uuid,
            resourceGroup: groupName(administrator, id),
            location,
            owner: `principals/${administrator.principalId}`,
            tag: systemRandom.uuid().slice(0, 6),
            workload,
          },
          experiment,
        );
  if (estate.kind === 'planned' && !keeps) scope.defer('estate', () => removeEstate(clients, made, systemClock));
  const lab = new CloudLab(access, experiment, made, scope.close);
  await lab.prepare();
  return lab;
};

/** A lab that can only undo, for the steps that a killed runner left open. */
export const labToUndo = (access: CloudAccess, scope: Scope): CloudLab => {
  const nothing: MadeEstate = { resourceGroup: '', keys: new Map(), machines: [] };
  const noSteps = { estate: { kind: 'planned', groups: [] }, timeline: [] } as const;
  const experiment = {
    title: '',
    seed: 0,
    settings: {},
    settingLines: {},
    steady: [],
    proof: [],
    abort: [],
    expect: [],
    ...noSteps,
  };
  return new CloudLab(access, experiment, nothing, scope.close);
};
