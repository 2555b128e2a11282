import { parseArgs } from 'node:util';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { imageLabels } from '../../deploy/images/labels.ts';
import { buildSite, builtSite, filesOf, serveSite } from './site.ts';

const help = `npm run docs [-- [--base <path>] [--source <url>]]        makes the site in docs/site/.vitepress/dist
npm run docs:dev                                          serves it on this computer, and again after each change of a page
npm run docs:preview                                      serves what npm run docs made

  --base    path of the site on its server, default /
  --source  URL of the repository, where links to source files lead; default the remote origin of git, without one they are text`;

runCommand(async () => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      base: { type: 'string', default: '/' },
      source: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [command = ''] = positionals;
  if (values.help) {
    console.log(help);
    return { exitCode: 0 };
  }
  const labels = await imageLabels({ version: '', description: '', source: values.source }, repository, process.env);
  const place = { base: values.base, source: filesOf(labels) };
  if (command === 'dev' || command === 'preview') return { exitCode: await serveSite(command, place) };
  if (command !== 'build' || positionals.length > 1)
    throw new LauncherError(`${positionals.join(' ')} is not known.\n${help}`);
  await buildSite(builtSite, place);
  return { exitCode: 0, lastLine: builtSite };
});
