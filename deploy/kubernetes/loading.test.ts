import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadingOf } from './loading.ts';

const image = 'localhost/interlock/key-vault:0.1.0';
const archive = '/tmp/interlock-localhost-interlock-key-vault-0-1-0.tar';

test("loads an image with the command of the cluster's tool, whichever builder made it", () => {
  const commands = (context: string, builder: 'podman' | 'docker') =>
    loadingOf(context, builder)(image).map((command) => command.join(' '));
  assert.deepEqual(commands('kind-kind', 'docker'), [
    `rm -f ${archive}`,
    `docker save --output ${archive} ${image}`,
    `kind load image-archive ${archive} --name kind`,
    `rm -f ${archive}`,
  ]);
  assert.match(commands('k3d-lab-1', 'podman')[1] ?? '', /^podman save --format docker-archive/);
  assert.equal(commands('k3d-lab-1', 'podman')[2], `k3d image import ${archive} --cluster lab-1`);
  assert.equal(commands('minikube', 'podman')[2], `minikube image load ${archive}`);
});

test('refuses a context that is not a laptop cluster', () => {
  for (const context of ['prod', 'kind', 'gke_project_zone_name'])
    assert.throws(() => loadingOf(context, 'docker'), new RegExp(`"${context}" is of no laptop cluster.*registry`));
});
