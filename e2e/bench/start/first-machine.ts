import { randomBytes } from 'node:crypto';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, openDataFolder } from '@interlock/local/data-folder.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import { startNats } from '@interlock/local/nats.ts';
import { startPostgres } from '@interlock/local/postgres.ts';

/**
 * One start, as `npm start` does it, in a process of its own: `machine` ends when the first machine of a fresh cloud runs,
 * `servers` when its Postgres and NATS alone serve. What is stopped afterwards does not count.
 * Prints, as its last line, the milliseconds of each stage since the process began.
 */
runCommand(async (scope) => {
  const stages: Record<string, number> = { loaded: performance.now() };
  const reached = (stage: string): void => {
    stages[stage] = performance.now();
  };
  const data = openDataFolder(dataRoot(process.env));
  const said = (line: string): void => {
    const [service] = /^\S+(?= serves on)/.exec(line) ?? [];
    if (service !== undefined) reached(service);
  };
  if (process.argv[2] === 'servers') {
    const servers = [startPostgres(data, process.env), startNats({ data, env: process.env, say: said })];
    for (const server of await Promise.all(servers)) scope.defer('server', server.stop);
    reached('end');
  } else {
    const world = import('../../cloud/world.ts');
    const clients = import('../../cloud/clients.ts');
    const name = `start_${randomBytes(4).toString('hex')}`;
    const cloud = await startLocalCloud({ data, env: process.env, name, temporary: true, say: said });
    scope.defer('cloud', cloud.stop);
    reached('services');
    const outside = (await clients).openOutside(cloud);
    scope.defer('clients', async () => outside.close());
    await (await world).makeWorld(outside.administrator, [['PREMIUM_SSD']]);
    reached('end');
  }
  const lastLine = JSON.stringify({ ...stages, atEnd: Date.now() });
  await scope.close();
  return { exitCode: 0, lastLine };
});
