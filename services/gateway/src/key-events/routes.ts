import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';
import { type EventForm, type EventVault, eventShown } from './shape.ts';

interface Parts {
  readonly backends: Pick<Backends, 'keyVault' | 'keyVaultEvents'>;
  readonly names: CloudNames;
}

/** Events of key-vault that one request reads at most. */
const pageSize = 1_000;

/** Events of a vault for external subscribers, which poll because there is no web hook (KV-110, KV-111). */
export const keyEventRoutes = (parts: Parts): readonly Route[] => [
  route({
    host: 'gateway',
    method: 'GET',
    path: '/interlock/v1/vaults/:vault/events',
    does: 'Lists events of a vault and its keys in the form of Event Grid or CloudEvents, after a position',
    versioned: false,
    handle: async ({ params, query }, caller) => {
      const form = formOf(query.form);
      const after = positionOf(query.after);
      const { name, resourceGroup } = await parts.backends.keyVault.getVault(
        { name: `vaults/${params.vault.toLowerCase()}` },
        caller.as('key-vault'),
      );
      return {
        body: await eventsAfter(parts, { name: name.replace('vaults/', ''), resourceGroup }, { after, form }, caller),
      };
    },
  }),
];

/** `position`: where the next request continues. `headPosition`: until a request reaches it, there may be more. */
const eventsAfter = async (
  { backends, names }: Parts,
  vault: EventVault,
  { after, form }: { readonly after: number; readonly form: EventForm },
  caller: Caller,
) => {
  const request = { afterPosition: after, pageSize };
  const { events, headPosition } = await backends.keyVaultEvents.readEvents(request, caller.as('key-vault'));
  return {
    value: events.flatMap((event) => eventShown(names, vault, event, form) ?? []),
    position: events.at(-1)?.position ?? after,
    headPosition,
  };
};

/** @throws RestError 400 */
const formOf = (given = 'eventgrid'): EventForm => {
  const form = given.toLowerCase();
  if (form === 'eventgrid' || form === 'cloudevents') return form;
  throw new RestError(400, 'InvalidParameter', `form must be eventgrid or cloudevents (got "${given.slice(0, 50)}")`);
};

/** @throws RestError 400 */
const positionOf = (given = '0'): number => {
  const position = /^\d{1,15}$/.test(given) ? Number(given) : undefined;
  if (position !== undefined) return position;
  const message = `after must be a position: 0, or the position of an earlier response (got "${given.slice(0, 50)}")`;
  throw new RestError(400, 'InvalidParameter', message);
};
