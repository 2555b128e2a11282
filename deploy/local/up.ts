import { runCommand } from './command.ts';
import { dataRoot, openDataFolder } from './data-folder.ts';
import { startLocalCloud } from './local-cloud.ts';

/** `npm run up`: runs the cloud until Ctrl-C. */
runCommand(async (scope) => {
  const data = openDataFolder(dataRoot(process.env));
  const { INTERLOCK_DATA: folder } = process.env;
  const cloud = await startLocalCloud({ data, env: process.env, say: console.log });
  scope.defer('cloud', cloud.stop);
  console.log(`
The cloud is running. Try, in another terminal:

${folder === undefined ? '' : `  export INTERLOCK_DATA=${data.root}\n`}  npx interlock status
  npx interlock --help

Everything is in ${data.root}
  administrator's credentials   administrator.json
  addresses                     cloud.json
  logs                          logs/

Ctrl-C stops it; the data stays.`);
  return new Promise(() => undefined);
});
