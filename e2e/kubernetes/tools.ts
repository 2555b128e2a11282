import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from '@interlock/local/command.ts';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { systemClock, systemRandom } from '@interlock/runtime';
import { reportLines } from '../../deploy/kubernetes/jobs/report-lines.ts';
import { clusterApi, ownNamespace } from '../../deploy/kubernetes/setup/cluster-api.ts';
import { makeMissing, secretsInText } from '../../deploy/kubernetes/setup/missing-secrets.ts';
import { createStreams } from '../../deploy/kubernetes/setup/nats-streams.ts';
import { makeCertificates, makeSecrets, namesNeeded, type Secret } from '../../deploy/kubernetes/setup/secrets.ts';
import { setUp } from '../../deploy/kubernetes/setup/setup.ts';
import { readBuild, versionLine } from '../../libs/host/src/build.ts';

/**
 * What the `tools` image runs, by its first argument:
 *
 * | | |
 * | --- | --- |
 * | `setup` | creates the Secrets of a new cloud in the namespace of its pod |
 * | `secrets [namespace] [--certificates-exist]` | prints them as a list for `kubectl create -f -` instead |
 * | `… --missing` | prints only those that this version adds to a cloud, whose Secrets are on standard input as JSON |
 * | `… --certificates` | prints only a new authority and all certificates, to replace those of a cloud |
 * | `streams` | creates the NATS stream of each service, or corrects it; ends once all have their copies |
 * | `files` | serves the files of a host to a rehearsal, until its pod ends |
 * | `rehearse` | rehearses on its cloud and prints the report at the end |
 * | `interlock …` | the command line |
 * | `--version` | prints name, version and revision |
 */
const [command, ...args] = process.argv.slice(2);
/** The file descriptor of standard input. */
const STDIN = 0;

if (command === 'interlock') {
  const { run } = await import('../../services/cli/src/commands/run.ts');
  const { openTerminal } = await import('../../services/cli/src/output/terminal.ts');
  process.exit(await run(args, process.env, openTerminal()));
}

if (command === '--version') {
  console.log(versionLine('tools', readBuild()));
  process.exit(0);
}

runCommand(async (scope) => {
  switch (command) {
    case 'setup': {
      const namespace = ownNamespace();
      const api = clusterApi(process.env.KUBERNETES_API ?? 'https://kubernetes.default.svc', namespace);
      const made = await setUp(api, namesNeeded(false), () =>
        makeSecrets({ namespace, hasCertificates: false, now: systemClock.now(), random: systemRandom }),
      );
      console.log(made.length === 0 ? 'this cloud was set up before' : `made ${made.join(', ')}`);
      return { exitCode: 0 };
    }
    case 'secrets': {
      const items = await printedSecrets(args);
      return { exitCode: 0, lastLine: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) };
    }
    case 'streams': {
      await createStreams(process.env, scope.signal);
      return { exitCode: 0, lastLine: `${serviceNames.length} streams have their copies` };
    }
    case 'files': {
      const { serveFiles } = await import('../rehearsal/in-cluster.ts');
      await serveFiles(process.env, scope);
      await new Promise((resolve) => scope.signal.addEventListener('abort', resolve, { once: true }));
      return { exitCode: 0 };
    }
    case 'rehearse': {
      const { rehearseInCluster } = await import('../rehearsal/in-cluster.ts');
      const outcome = await rehearseInCluster(process.env, scope);
      const out = process.env.OUT_FOLDER ?? '';
      for (const name of ['report.json', 'report.html'])
        for (const line of reportLines(name, readFileSync(join(out, name)))) console.log(line);
      return { exitCode: outcome.verdict === 'pass' ? 0 : 1, lastLine: JSON.stringify(outcome) };
    }
    default:
      console.error(`"${command ?? ''}" is not known: setup, secrets, streams, files, rehearse or interlock`);
      return { exitCode: 2 };
  }
});

/** What `secrets` prints. @throws LauncherError for an unknown option, CannotAdd */
async function printedSecrets(options: readonly string[]): Promise<readonly Secret[]> {
  const known = ['--certificates-exist', '--missing', '--certificates'];
  const unknown = options.find((one) => one.startsWith('-') && !known.includes(one));
  if (unknown !== undefined) throw new LauncherError(`secrets has no option ${unknown}: it has ${known.join(', ')}`);
  const has = (option: string): boolean => options.includes(option);
  const namespace = options.find((one) => !one.startsWith('-')) ?? 'interlock';
  const parts = {
    namespace,
    hasCertificates: has('--certificates-exist'),
    now: systemClock.now(),
    random: systemRandom,
  };
  if (has('--certificates')) return makeCertificates(namespace, parts.now);
  if (!has('--missing')) return makeSecrets(parts);
  const items = await makeMissing(secretsInText(readFileSync(STDIN, 'utf8')), parts);
  const names = items.map(({ metadata }) => metadata.name);
  console.error(names.length === 0 ? 'no Secret is missing' : `made ${names.join(', ')}`);
  return items;
}
