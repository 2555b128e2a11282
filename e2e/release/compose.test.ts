import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import { images } from '../../deploy/images/services.mjs';
import { projectVersion } from './version.ts';
import { readYaml } from './workflows.ts';

interface Service {
  readonly image: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

const file = readYaml<{
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: object;
  readonly volumes: object;
}>('deploy/compose.yaml');
const textOf = (path: string): string => readFileSync(join(repository, path), 'utf8');

test('the compose file starts the image of this version, and waits for Postgres and NATS', () => {
  const { interlock } = file.services;
  assert.equal(interlock?.image, `\${INTERLOCK_IMAGE:-localhost/interlock/all-in-one:${projectVersion()}}`);
  assert.ok('all-in-one' in images);
  assert.deepEqual(Object.keys(interlock?.depends_on ?? {}), ['postgres', 'nats']);
  for (const name of Object.keys(interlock?.depends_on ?? {})) assert.ok(file.services[name]?.healthcheck, name);
});

test('Postgres and NATS are the images that the manifests use', () => {
  for (const name of ['postgres', 'nats'])
    assert.ok(
      textOf(`deploy/kubernetes/overlays/local/${name}.yaml`).includes(`image: ${file.services[name]?.image}\n`),
    );
});

test('every setting of the compose file exists, and addresses name its services', () => {
  const settings = textOf('docs/settings.md');
  const environment = file.services.interlock?.environment ?? {};
  for (const name of Object.keys(environment)) assert.ok(settings.includes(`\`${name}\``), name);
  for (const name of ['DATABASE_URL', 'NATS_URL']) {
    const { hostname } = new URL(environment[name] ?? '');
    assert.ok(hostname in file.services, `${name}: ${hostname}`);
  }
});

test('only the gateway is published, on loopback addresses, and its ports are the same inside and outside', () => {
  const { INTERLOCK_GATEWAY_PORT: port, INTERLOCK_LOOPBACK_PORT: loopback } =
    file.services.interlock?.environment ?? {};
  assert.deepEqual(
    file.services.interlock?.ports,
    [port, loopback].map((one) => `127.0.0.1:${one}:${one}`),
  );
  assert.match(textOf('deploy/Containerfile'), new RegExp(`^EXPOSE ${port} ${loopback}$`, 'm'));
  for (const name of ['postgres', 'nats']) {
    assert.equal(file.services[name]?.ports, undefined);
    assert.deepEqual(file.services[name]?.networks, ['servers']);
  }
});

test('the volumes and networks that services name are declared', () => {
  for (const { volumes, networks } of Object.values(file.services)) {
    for (const volume of volumes) assert.ok((volume.split(':')[0] ?? '') in file.volumes, volume);
    for (const network of networks) assert.ok(network === 'default' || network in file.networks, network);
  }
});
