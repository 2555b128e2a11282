import type { RotationPolicy } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import { type Static, Type } from '@sinclair/typebox';
import { type CloudNames, keyUrl } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';
import { type KeyParts, versionOf } from './routes.ts';

const Duration = Type.String({ maxLength: 50 });

const PolicyBody = Type.Object({
  lifetimeActions: Type.Optional(
    Type.Array(
      Type.Object({
        trigger: Type.Object({
          timeAfterCreate: Type.Optional(Duration),
          timeBeforeExpiry: Type.Optional(Duration),
        }),
        action: Type.Object({ type: Type.String({ maxLength: 50 }) }),
      }),
      { maxItems: 2 },
    ),
  ),
  attributes: Type.Optional(Type.Object({ expiryTime: Type.Optional(Duration) })),
});

type PolicyGiven = Static<typeof PolicyBody>;

const path = '/:vault/keys/:key/rotationpolicy';

/** Rotation policies of keys (KV-34, KV-50). */
export const rotationPolicyRoutes = ({ backends, names }: KeyParts): readonly Route[] => [
  route({
    host: 'vault',
    method: 'GET',
    path,
    does: 'Reads the rotation policy',
    handle: async ({ params }, caller) => {
      const name = versionOf(params);
      return { body: policyShown(names, await backends.keyVault.getRotationPolicy({ name }, caller.as('key-vault'))) };
    },
  }),
  route({
    host: 'vault',
    method: 'PUT',
    path,
    does: 'Sets the rotation policy',
    body: PolicyBody,
    handle: async ({ params, body }, caller) => {
      const request = { name: versionOf(params), ...policyOf(body) };
      return { body: policyShown(names, await backends.keyVault.setRotationPolicy(request, caller.as('key-vault'))) };
    },
  }),
];

/** @throws RestError 400 for an unknown action, and for an action without or with two triggers (KV-50) */
export const policyOf = ({ lifetimeActions = [], attributes }: PolicyGiven) => {
  const wanted = {
    rotateAfterCreate: '',
    rotateBeforeExpiry: '',
    notifyBeforeExpiry: '',
    expiryTime: attributes?.expiryTime ?? '',
  };
  const seen = new Set<string>();
  for (const { trigger, action } of lifetimeActions) {
    const type = action.type.toLowerCase();
    const { timeAfterCreate: created = '', timeBeforeExpiry: expiry = '' } = trigger;
    if (type !== 'rotate' && type !== 'notify')
      throw bad(`action.type must be Rotate or Notify (got "${action.type}")`);
    if (seen.has(type)) throw bad(`at most one action may be ${action.type}`);
    if ((created === '') === (expiry === '')) throw bad('a trigger has either timeAfterCreate or timeBeforeExpiry');
    if (type === 'notify' && expiry === '') throw bad('the trigger of Notify must be timeBeforeExpiry');
    seen.add(type);
    if (type === 'notify') wanted.notifyBeforeExpiry = expiry;
    else if (created === '') wanted.rotateBeforeExpiry = expiry;
    else wanted.rotateAfterCreate = created;
  }
  return wanted;
};

const bad = (message: string): RestError => new RestError(400, 'BadParameter', message);

/** The policy as clients read it. */
const policyShown = (names: CloudNames, policy: RotationPolicy): unknown => {
  const { rotateAfterCreate, rotateBeforeExpiry, notifyBeforeExpiry, expiryTime } = policy;
  const action = (type: string, trigger: object) => ({ trigger, action: { type } });
  const at = policy.updateTime && Math.floor(policy.updateTime.getTime() / 1_000);
  return {
    id: `${keyUrl(names, policy.name)}/rotationpolicy`,
    lifetimeActions: [
      ...(rotateAfterCreate === '' ? [] : [action('Rotate', { timeAfterCreate: rotateAfterCreate })]),
      ...(rotateBeforeExpiry === '' ? [] : [action('Rotate', { timeBeforeExpiry: rotateBeforeExpiry })]),
      ...(notifyBeforeExpiry === '' ? [] : [action('Notify', { timeBeforeExpiry: notifyBeforeExpiry })]),
    ],
    attributes: {
      ...(expiryTime === '' ? {} : { expiryTime }),
      ...(at === undefined ? {} : { created: at, updated: at }),
    },
  };
};
