import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';

const path =
  '/subscriptions/:subscription/providers/Microsoft.Compute/locations/:location/publishers/:publisher/artifacttypes/vmimage/offers/:offer/skus/:sku/versions' as const;
const version = '1.0.0';

/** Look-ups of images. There is no gallery: every image exists in one version, and a machine from it starts with an empty disk. */
export const imageRoutes = (): readonly Route[] => [
  route({
    host: 'gateway',
    method: 'GET',
    path,
    does: 'Lists the versions of an image: one, whatever its name',
    handle: ({ url, params }) => ({ body: [imageBody(url.split('?')[0] ?? '', params.location)] }),
  }),
  route({
    host: 'gateway',
    method: 'GET',
    path: `${path}/:version`,
    does: 'Reads a version of an image',
    handle: ({ url, params }) => {
      if (!['latest', version].includes(params.version.toLowerCase())) {
        throw new RestError(
          404,
          'NotFound',
          `The image version ${params.version.slice(0, 50)} does not exist: use ${version}.`,
        );
      }
      const isWindows = params.publisher.toLowerCase().startsWith('microsoftwindows');
      const properties = {
        osDiskImage: { operatingSystem: isWindows ? 'Windows' : 'Linux' },
        dataDiskImages: [],
        hyperVGeneration: 'V2',
        architecture: 'x64',
      };
      const parent = (url.split('?')[0] ?? '').replace(/\/[^/]+$/, '');
      return { body: { ...imageBody(parent, params.location), properties } };
    },
  }),
];

const imageBody = (parent: string, location: string) => ({ id: `${parent}/${version}`, name: version, location });
