import type {
  PreviewImpactRequest,
  PreviewImpactRequest_Action,
  PreviewImpactResponse,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import type { KeyChange } from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { type Cause, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  names,
  type Principal,
  pageOf,
  pageToken,
  principalOf,
  requireActive,
  requirePermission,
} from '@interlock/rpc';
import { callFor, type SetParts } from '../sets.ts';
import { type ChangeScope, ofKey, ofPrincipal, ofVault, ofVersion } from './change-scope.ts';
import { beginning, type Event, placeOf, placeText, previewImpact } from './impact.ts';

const read = 'compute/diskEncryptionSets/read';

type Action = Event['action'];
type Target = NonNullable<PreviewImpactRequest['target']>;

/** Default actions. */
const defaultActions = {
  key: 'DISABLE',
  keyVersion: 'DISABLE',
  vault: 'DELETE',
  principal: 'REVOKE',
} as const satisfies Record<Target['$case'], Action>;

/** Changes as the vault names them. */
const changes: Readonly<Record<Action, KeyChange>> = {
  DISABLE: 'KEY_CHANGE_DISABLE',
  DELETE: 'KEY_CHANGE_DELETE',
  PURGE: 'KEY_CHANGE_PURGE',
  EXPIRE: 'KEY_CHANGE_EXPIRE',
  REVOKE: 'KEY_CHANGE_REVOKE',
};

type Parts = SetParts & { readonly authorize: Authorizer };

/** Previews the effect of a change to a key. Stores nothing. */
export const impactApi = (parts: Parts) => ({
  async previewImpact(request: PreviewImpactRequest, call: Call): Promise<PreviewImpactResponse> {
    const { target } = request;
    if (target === undefined) throw targetMissing();
    const { limit, after } = pageOf(request);
    const from = after === undefined ? beginning : placeOf(after);
    const action = actionOf(request.action, target);
    const caller = principalOf(call);
    await requireActive(parts.authorize, caller);
    const { reach, refusedWith } = await reachOf(parts, target, action, caller, call.cause);
    const { impacts, next } = await previewImpact(parts, { action, reach }, from, limit, call.cause);
    return { impacts: [...impacts], nextPageToken: pageToken(next && placeText(next)), refusedWith };
  },
});

/** Authorizes the preview. @returns what the change would reach, and the reason with which the vault would refuse the change */
const reachOf = async (
  parts: Parts,
  target: Target,
  action: Action,
  caller: Principal,
  cause: Cause,
): Promise<{ readonly reach: ChangeScope; readonly refusedWith: string }> => {
  const reachOfKey = async (reach: (name: string) => ChangeScope) => {
    // The vault decides who may change the key; readers of the whole platform may preview everything.
    const { allowed: permittedElsewhere } = await parts.authorize(caller, read, '/');
    const asker = { principal: caller.name, tenant: `tenants/${caller.tenant}`, permittedElsewhere };
    const request = { name: target.value, change: changes[action], ...asker };
    const { name, refusedWith } = await parts.keyVault.authorizeImpactPreview(request, callFor(cause));
    return { reach: reach(name), refusedWith };
  };
  switch (target.$case) {
    case 'key':
      names.key.parse(target.value, 'key');
      return reachOfKey(ofKey);
    case 'keyVersion':
      names.keyVersion.parse(target.value, 'key_version');
      return reachOfKey(ofVersion);
    case 'vault':
      names.vault.parse(target.value, 'vault');
      return reachOfKey(ofVault);
    case 'principal':
      return { reach: await reachOfPrincipal(parts, target.value, action, caller), refusedWith: '' };
  }
};

/** Readers of a set may preview the loss of its identity. */
const reachOfPrincipal = async (
  { sets, authorize }: Parts,
  principal: string,
  action: Action,
  caller: Principal,
): Promise<ChangeScope> => {
  names.principal.parse(principal, 'principal');
  if (action !== 'REVOKE' && action !== 'DELETE') {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'KEY_CHANGE_NOT_APPLICABLE',
      `action must be DELETE or REVOKE for a principal (got ${action})`,
      { field: 'action', value: action },
    );
  }
  const reach = ofPrincipal(principal, '');
  const [owner] = (await sets.list({ index: reach.index, limit: 1 })).items;
  await requirePermission(authorize, caller, read, owner?.id ?? '/');
  if (owner) return reach;
  throw new Rejection(
    'NOT_FOUND',
    'PRINCIPAL_NOT_FOUND',
    `${principal} is not the identity of a disk encryption set: no disk depends on it`,
    { principal },
  );
};

const actionOf = (asked: PreviewImpactRequest_Action, target: Target): Action => {
  if (asked === 'ACTION_UNSPECIFIED') return defaultActions[target.$case];
  if (asked !== 'UNRECOGNIZED') return asked;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'KEY_CHANGE_NOT_APPLICABLE',
    'action must be DISABLE, DELETE, PURGE, EXPIRE or REVOKE',
    {
      field: 'action',
    },
  );
};

const targetMissing = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'IMPACT_TARGET_MISSING',
    'a target is required: one of key, key_version, vault or principal',
    { field: 'target' },
  );
