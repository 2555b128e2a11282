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
import { beginning, type Event, placeOf, placeText, previewImpact } from './impact.ts';
import { ofKey, ofPrincipal, ofVault, ofVersion, type Reach } from './reach.ts';

const read = 'compute/diskEncryptionSets/read';

type Action = Event['action'];
type Target = NonNullable<PreviewImpactRequest['target']>;

/** What is meant when the action is not said. */
const defaultActions = {
  key: 'DISABLE',
  keyVersion: 'DISABLE',
  vault: 'DELETE',
  principal: 'REVOKE',
} as const satisfies Record<Target['$case'], Action>;

/** An action as the vault names the change. */
const changes: Readonly<Record<Action, KeyChange>> = {
  DISABLE: 'KEY_CHANGE_DISABLE',
  DELETE: 'KEY_CHANGE_DELETE',
  PURGE: 'KEY_CHANGE_PURGE',
  EXPIRE: 'KEY_CHANGE_EXPIRE',
  REVOKE: 'KEY_CHANGE_REVOKE',
};

/** What taking a key away would do: request in, lines out. Decides nothing and stores nothing. */
export const impactApi = (parts: SetParts & { readonly authorize: Authorizer }) => {
  const { sets, keyVault, authorize } = parts;

  /** The vault says who may take a key away, and whether it is there; readers of the whole platform may look at all. */
  const permittedKey = async (name: string, action: Action, caller: Principal, cause: Cause) => {
    const { allowed: isPlatformReader } = await authorize(caller, read, '/');
    const asker = { principal: caller.name, tenant: `tenants/${caller.tenant}`, permittedElsewhere: isPlatformReader };
    const request = { name, change: changes[action], ...asker };
    return keyVault.authorizeImpactPreview(request, callFor(cause));
  };

  /** An identity is its set's: whoever may read the set may see what it would lose. */
  const permittedPrincipal = async (principal: string, action: Action, caller: Principal): Promise<Reach> => {
    names.principal.parse(principal, 'principal');
    if (action !== 'REVOKE' && action !== 'DELETE') {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'KEY_CHANGE_NOT_APPLICABLE',
        `${action} cannot happen to a principal: it is deleted, or its grants are withdrawn`,
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
      `${principal} is the identity of no disk encryption set: nothing depends on it here`,
      { principal },
    );
  };

  /** What the change would reach, and why the vault would refuse the change itself. */
  const reachOf = async (target: Target, action: Action, caller: Principal, cause: Cause) => {
    const permitted = async (reach: (name: string) => Reach) => {
      const { name, refusedWith } = await permittedKey(target.value, action, caller, cause);
      return { reach: reach(name), refusedWith };
    };
    switch (target.$case) {
      case 'key':
        names.key.parse(target.value, 'key');
        return permitted(ofKey);
      case 'keyVersion':
        names.keyVersion.parse(target.value, 'key_version');
        return permitted(ofVersion);
      case 'vault':
        names.vault.parse(target.value, 'vault');
        return permitted(ofVault);
      case 'principal':
        return { reach: await permittedPrincipal(target.value, action, caller), refusedWith: '' };
    }
  };

  return {
    async previewImpact(request: PreviewImpactRequest, call: Call): Promise<PreviewImpactResponse> {
      const { target } = request;
      if (target === undefined) throw targetMissing();
      const { limit, after } = pageOf(request);
      const from = after === undefined ? beginning : placeOf(after);
      const action = actionOf(request.action, target);
      await requireActive(authorize, principalOf(call));
      const { reach, refusedWith } = await reachOf(target, action, principalOf(call), call.cause);
      const { impacts, next } = await previewImpact(parts, { action, reach }, from, limit, call.cause);
      return { impacts: [...impacts], nextPageToken: pageToken(next && placeText(next)), refusedWith };
    },
  };
};

const actionOf = (asked: PreviewImpactRequest_Action, target: Target): Action => {
  if (asked === 'ACTION_UNSPECIFIED') return defaultActions[target.$case];
  if (asked !== 'UNRECOGNIZED') return asked;
  throw new Rejection('INVALID_ARGUMENT', 'KEY_CHANGE_NOT_APPLICABLE', 'action is none of those there are', {
    field: 'action',
  });
};

const targetMissing = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'IMPACT_TARGET_MISSING',
    'say what would be taken away: one of key, key_version, vault or principal',
    { field: 'target' },
  );
