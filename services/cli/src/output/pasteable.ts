import { basename, dirname } from 'node:path';
import type { Build } from '../commands/build.ts';
import { nouns } from '../verbs/table.ts';

/** A command line as typed, ready to be pasted into a shell. It begins with `interlock`; `pasteable` writes how it is typed. */
export const typedLine = (args: readonly string[]): string =>
  [
    'interlock',
    ...args.map((word) => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)),
  ].join(' ');

/** Words after `interlock` that begin a command. */
const words = [
  'up',
  'down',
  'status',
  'rehearse',
  'trace',
  'probe',
  'azure',
  'estate',
  'context',
  'completion',
  ...Object.keys(nouns),
];
const command = new RegExp(`(?<![\\w./@-])(?<!npx )interlock (?=(?:${words.join('|')}|--)\\b)`, 'g');

/**
 * What a user types to run this command line: `interlock` where it is installed or on the PATH, else `npx interlock`.
 * @param script path as it was started: `services/cli/bin` of the clone is for the PATH
 */
export const programOfBuild = ({ clone }: Build, script: string): string =>
  clone === undefined || (basename(script) === 'interlock' && basename(dirname(script)) === 'bin')
    ? 'interlock'
    : 'npx interlock';

/** The text with commands as the user types them. */
export const pasteable = (text: string, program: string): string =>
  program === 'interlock'
    ? text.replaceAll(/npm run up( --(?= ))?/g, 'interlock up')
    : text.replace(command, `${program} `);
