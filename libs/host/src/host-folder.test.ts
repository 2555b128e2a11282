import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { systemClock as clock, createScope, logger, type Random, systemRandom as random } from '@interlock/runtime';
import { enterHostFolder, folderId } from './host-folder.ts';
import { openWorkPartitions } from './partitions/work-partitions.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-host-folder-'));
after(() => rmSync(root, { recursive: true }));
const newFolder = (name: string): string => {
  const folder = join(root, name);
  mkdirSync(folder);
  return folder;
};

test('a folder keeps its id, and concurrent processes get the same id', async () => {
  const folder = newFolder('id');
  const ids = await Promise.all(Array.from({ length: 8 }, () => folderId(folder, random)));
  assert.match(ids[0] ?? '', /^[0-9a-f-]{36}$/);
  assert.deepEqual(new Set(ids), new Set([await folderId(folder, random)]));
  assert.deepEqual(readdirSync(folder), ['folder-id']);
  writeFileSync(join(folder, 'folder-id'), '');
  await assert.rejects(folderId(folder, random), /folder-id is empty: restore it/);
});

/** The store of a service, and processes that enter with a folder. */
const makeService = () => {
  const store = memoryStore({ clock });
  const enter = (folder: string, lost?: string) => {
    const lines: string[] = [];
    const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
    const scope = createScope();
    const replica = `replica of ${folder}`;
    const partitions = openWorkPartitions({ store, clock, log, replica, process: random.uuid(), ttlMs: 1_000 });
    let isAtWork = false;
    partitions.keep('work/0', async (signal) => {
      isAtWork = true;
      await clock.sleep(60_000, signal);
      isAtWork = false;
    });
    const refused = Promise.withResolvers<string>();
    const replaced = Promise.withResolvers<'replaced'>();
    const entered = enterHostFolder({
      folder,
      lost,
      partitions,
      random: random as Random,
      log,
      scope,
      notReady: refused.resolve,
      onReplaced: () => replaced.resolve('replaced'),
    });
    void entered.then(
      () => {
        const running = partitions.run(scope.signal);
        scope.defer('partitions', () => running);
      },
      () => undefined,
    );
    return {
      entered,
      refused: refused.promise,
      replaced: replaced.promise,
      partitions,
      scope,
      lines,
      isAtWork: () => isAtWork,
    };
  };
  return { enter };
};

const until = async (isSo: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await isSo())) await clock.sleep(10);
};

test('a process with another folder than the host is not ready, gets no partition, and logs why', async () => {
  const { enter } = makeService();
  const [own, other] = [newFolder('own'), newFolder('other')];
  const host = enter(own);
  const hostId = await host.entered;
  await until(host.isAtWork);
  const beside = enter(own);
  assert.equal(await beside.entered, hostId, 'a replica on the same machine has the same folder');

  const stranger = enter(other);
  assert.equal(await stranger.refused, 'OTHER_HOST_FOLDER');
  const stateOf = async () => (await host.partitions.replicas()).map(({ state }) => state).sort();
  await until(async () => (await stateOf()).includes('other folder'));
  assert.ok(stranger.lines.some((line) => line.includes('OTHER_HOST_FOLDER') && line.includes(hostId)));
  await stranger.scope.close();
  await assert.rejects(stranger.entered, /stopped while the host of this service has another folder/);
  await until(async () => !(await stateOf()).includes('other folder'));
  assert.ok(!stranger.isAtWork());
  await beside.scope.close();
  await host.scope.close();
});

test('an operator replaces a host folder that is lost for good, and a process with the lost folder ends', async () => {
  const { enter } = makeService();
  const [gone, next] = [newFolder('gone'), newFolder('next')];
  const host = enter(gone);
  const lost = await host.entered;
  await until(host.isAtWork);
  const wrong = enter(next, random.uuid());
  assert.equal(await wrong.refused, 'OTHER_HOST_FOLDER', 'another id than the recorded one replaces nothing');
  await wrong.scope.close();
  await wrong.entered.catch(() => undefined);

  const successor = enter(next, lost);
  assert.notEqual(await successor.entered, lost);
  assert.equal(await host.replaced, 'replaced');
  await until(() => !host.isAtWork());
  await host.scope.close();
  await until(successor.isAtWork);
  const late = enter(gone, lost);
  assert.equal(
    await late.refused,
    'OTHER_HOST_FOLDER',
    'the setting may stay: it names a folder that is no longer recorded',
  );
  await late.scope.close();
  await late.entered.catch(() => undefined);
  await successor.scope.close();
});
