import { RestError } from '../errors/rest-error.ts';
import { type Route, refusedRoute, route } from '../http/route.ts';

const host = 'vault';
const noRelease = 'No key is exportable.';
const noHsm = 'There is no HSM.';

/** Operations of a vault that clients know and no service has. */
export const refusedKeyRoutes: readonly Route[] = [
  route({
    host,
    method: 'GET',
    path: '/:vault/certificates/contacts',
    does: 'Reads contacts for certificates: there are none (404), which Terraform asks of every vault',
    handle: () => {
      throw new RestError(404, 'CertificateContactsNotFound', 'Contacts not found: a vault here has keys only.');
    },
  }),
  refusedRoute({
    host,
    method: 'POST',
    path: '/:vault/keys/:key/release',
    does: 'Releases a key',
    refusedBecause: noRelease,
  }),
  refusedRoute({
    host,
    method: 'POST',
    path: '/:vault/keys/:key/:version/release',
    does: 'Releases a key version',
    refusedBecause: noRelease,
  }),
  refusedRoute({
    host,
    method: 'GET',
    path: '/:vault/keys/:key/attestation',
    does: 'Attests a key',
    refusedBecause: noHsm,
  }),
  refusedRoute({
    host,
    method: 'GET',
    path: '/:vault/keys/:key/:version/attestation',
    does: 'Attests a key version',
    refusedBecause: noHsm,
  }),
  refusedRoute({ host, method: 'POST', path: '/:vault/rng', does: 'Returns random bytes', refusedBecause: noHsm }),
];
