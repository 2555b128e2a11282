import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { databaseOf, storeOwners } from '@interlock/local/services.ts';
import { textOf } from '../docs/sources.ts';
import { objectsIn } from './render.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-databases-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** In place of psql: keeps the statements for each database in a file, and says which databases exist. */
const psql = `#!/bin/sh
for argument; do case "$argument" in name=*) name="\${argument#name=}";; password=*) password="\${argument#password=}";; esac; done
statements=$(cat)
case "$statements" in
  select*) [ -e "${folder}/made/$name" ] && echo 1; exit 0;;
  *) printf '%s %s' "$password" "$statements" > "${folder}/made/$name";;
esac
`;

test('the script of the local Postgres makes the database of each service, and later only those that are missing', () => {
  const script = objectsIn(textOf('deploy/kubernetes/overlays/local/postgres.yaml')).find(
    ({ kind }) => kind === 'ConfigMap',
  )?.data?.['10-databases.sh'];
  writeFileSync(join(folder, '10-databases.sh'), script ?? assert.fail('no script'));
  writeFileSync(join(folder, 'psql'), psql);
  chmodSync(join(folder, 'psql'), 0o755);
  mkdirSync(join(folder, 'made'));
  const run = (suffix: string): void => {
    const passwords = storeOwners.map((name) => [`${name.replaceAll('-', '_').toUpperCase()}_PASSWORD`, name + suffix]);
    const env = { PATH: `${folder}:${process.env.PATH}`, ...Object.fromEntries(passwords) };
    execFileSync('sh', [join(folder, '10-databases.sh')], { env });
  };
  const made = (name: string): string => readFileSync(join(folder, 'made', name), 'utf8');
  run('-first');
  assert.deepEqual(
    readdirSync(join(folder, 'made')).sort(),
    storeOwners.map((name) => databaseOf('interlock', name)).sort(),
  );
  for (const name of storeOwners)
    assert.match(made(databaseOf('interlock', name)), new RegExp(`^${name}-first .*create role`, 's'));

  rmSync(join(folder, 'made', 'interlock_gateway'));
  run('-second');
  assert.match(made('interlock_gateway'), /^gateway-second /);
  assert.match(made('interlock_identity'), /^identity-first /, 'an existing database keeps its role and password');
});
