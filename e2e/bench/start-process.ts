import { randomBytes } from 'node:crypto';
import { runCommand } from '@interlock/local/command.ts';
import { dataRoot, openDataFolder } from '@interlock/local/data-folder.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import { startNats } from '@interlock/local/nats.ts';
import { startPostgres } from '@interlock/local/postgres.ts';

/**
 * The process that `start` measures: `machine` ends when the first machine of a new cloud runs, `servers` when its Postgres
 * and NATS serve. Prints, as its last line, the milliseconds of each stage since the process started.
 */
runCommand(async (scope) => {
  const stages: Record<string, number> = { loaded: performance.now() };
  const data = openDataFolder(dataRoot(process.env));
  const say = (line: string): void => {
    const [service] = /^\S+(?= serves on)/.exec(line) ?? [];
    if (service !== undefined) stages[service] = performance.now();
  };
  if (process.argv[2] === 'servers') {
    const servers = [startPostgres(data, process.env), startNats({ data, env: process.env, say })];
    for (const server of await Promise.all(servers)) scope.defer('server', server.stop);
  } else {
    const world = import('../cloud/world.ts');
    const clients = import('../cloud/clients.ts');
    const name = `start_${randomBytes(4).toString('hex')}`;
    const cloud = await startLocalCloud({ data, env: process.env, name, temporary: true, say });
    scope.defer('cloud', cloud.stop);
    stages.services = performance.now();
    const outside = (await clients).openOutside(cloud);
    scope.defer('clients', () => outside.close());
    await (await world).makeWorld(outside.administrator, [['PREMIUM_SSD']]);
  }
  stages.end = performance.now();
  const lastLine = JSON.stringify({ ...stages, atEnd: Date.now() });
  await scope.close();
  return { exitCode: 0, lastLine };
});
