import type {
  PreviewKeyLossRequest,
  PreviewKeyLossResponse,
} from '@interlock/contracts/interlock/compute/v1/key_loss_preview.ts';
import { type Category, Rejection } from '@interlock/event-store';
import { names, pageOf, pageToken } from '@interlock/rpc';
import type { VmEvent } from './events.ts';
import { impactOf } from './impact.ts';
import type { Vm } from './state.ts';
import { powerOf, shown } from './wire.ts';

/** Machines of a page if the request names no size. */
const pageSizeDefault = 100;
const keyVersionsMax = 1_000;

/** The call of disk encryption sets before a change: which machines would a loss stop? Each call reads one page. */
export const impactApi = ({ vms }: { readonly vms: Category<Vm, VmEvent> }) => ({
  async previewKeyLoss(request: PreviewKeyLossRequest): Promise<PreviewKeyLossResponse> {
    const set = request.diskEncryptionSet;
    names.diskEncryptionSet.parse(set, 'disk_encryption_set');
    const supposed = { set, keyVersions: versionsOf(request.keyVersions) };
    const { limit, after } = pageOf({ ...request, pageSize: request.pageSize || pageSizeDefault });
    const page = await vms.list({
      index: { index: 'set', value: set },
      limit,
      ...(after === undefined ? {} : { after }),
    });
    const impacts = page.items.flatMap((loaded) => {
      const impact = impactOf(loaded.state, supposed);
      if (!impact) return [];
      return [
        {
          virtualMachine: loaded.id,
          outcome: impact.outcome,
          disks: [...impact.disks],
          powerState: powerOf(shown(loaded)),
        },
      ];
    });
    return { impacts, nextPageToken: pageToken(page.next) };
  },
});

/** @throws Rejection INVALID_ARGUMENT KEY_VERSIONS_MISSING, TOO_MANY_KEY_VERSIONS, NAME_INVALID */
const versionsOf = (keyVersions: readonly string[]): ReadonlySet<string> => {
  if (keyVersions.length === 0) {
    throw new Rejection('INVALID_ARGUMENT', 'KEY_VERSIONS_MISSING', 'key_versions must name at least one key version', {
      field: 'key_versions',
    });
  }
  if (keyVersions.length > keyVersionsMax) {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'TOO_MANY_KEY_VERSIONS',
      `key_versions: ${keyVersions.length} are too many; at most ${keyVersionsMax} are allowed in one call`,
      { field: 'key_versions', maximum: String(keyVersionsMax) },
    );
  }
  for (const version of keyVersions) names.keyVersion.parse(version, 'key_versions');
  return new Set(keyVersions);
};
