import type {
  CheckKeyAccessRequest,
  EncryptedResource,
  RewrapDeksRequest,
  RewrapDeksResponse,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { Rejection, writeEvent } from '@interlock/event-store';
import { type Call, names, settleItems } from '@interlock/rpc';
import { rewrapsMax } from '../batch-limits.ts';
import { type Control, isSnapshotName } from '../disk/control.ts';
import { diskSteps } from '../disk/state.ts';
import { snapshotSteps } from '../snapshot/decider.ts';
import type { Step } from '../step-barrier.ts';
import { checkNames, diskAsResource, encryptedResourcesApi, snapshotAsResource } from './encrypted-resources-api.ts';
import { rewrapDek } from './rewrapping.ts';

/** Longest duration of a move, in ms: twenty times that of a move without other load. */
const moveMs = 1_000;

/** What a disk encryption set needs when its key is checked or changed. */
export const keyChangeApi = (control: Control) => ({
  ...encryptedResourcesApi(control),
  async checkKeyAccess({ diskEncryptionSet: set, keyVersion, principal, allowExpired }: CheckKeyAccessRequest) {
    checkNames(set, keyVersion, principal);
    return control.host.checkKey({ set, keyVersion, principal, resource: '' }, undefined, { allowExpired });
  },
  async rewrapDeks({ names: resources, ...target }: RewrapDeksRequest, call: Call): Promise<RewrapDeksResponse> {
    const outcomes = await settleItems(resources, { sizeMax: rewrapsMax, log: control.log }, (name) =>
      control.host.inBackground((step) => rewrapOne(control, name, target, call, step)),
    );
    return {
      outcomes: outcomes.map((outcome) =>
        'answer' in outcome
          ? { outcome: { $case: 'moved', value: outcome.answer.resource }, event: writeEvent(outcome.answer.event) }
          : { outcome: { $case: 'refused', value: { ...outcome.refused } }, event: '' },
      ),
    };
  },
});

const rewrapOne = async (
  control: Control,
  name: string,
  { targetKeyVersion: keyVersion, generation }: Omit<RewrapDeksRequest, 'names'>,
  { cause, signal, remainingMs }: Pick<Call, 'cause' | 'signal' | 'remainingMs'>,
  step: Step,
): Promise<{ readonly resource: EncryptedResource; readonly event: string }> => {
  // It waited until its deadline was near, or its caller had gone: the caller learns in time to call again.
  if (signal.aborted || remainingMs() < moveMs) throw busy(name);
  names[isSnapshotName(name) ? 'snapshot' : 'disk'].parse(name, 'name');
  names.keyVersion.parse(keyVersion, 'target_key_version');
  const moved = await rewrapDek(control, name, { keyVersion, generation }, cause, step);
  return moved.kind === 'disk'
    ? { resource: diskAsResource(moved.now), event: diskSteps(name, moved.now.state, 'key')[0] ?? '' }
    : { resource: snapshotAsResource(moved.now), event: snapshotSteps(name, moved.now.state, 'key')[0] ?? '' };
};

const busy = (resource: string): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_BUSY',
    `${resource} waited behind the I/O of guests until the deadline of its call: try again`,
    { resource },
  );
