import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '@interlock/local/data-folder.ts';

/** What the .proto files say about methods and fields. The descriptors come without comments, and help is the only reader. */
export interface ProtoComments {
  /** First sentence about a field. */
  field(typeName: string, field: string): string;
  /** Everything about a method. */
  method(service: string, method: string): string;
}

let loaded: ProtoComments | undefined;

/** Read at the first `--help`. */
export function protoComments(): ProtoComments {
  loaded ??= load();
  return loaded;
}

/** Sources of the project's own packages by full name of what they describe (`package.Message.field`, `package.Service/Method`). */
export function commentsIn(source: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const scopes: string[] = [];
  let pending: string[] = [];
  let packageName = '';
  for (const line of source.split('\n').map((one) => one.trim())) {
    const comment = /^\/\/ ?(.*)$/.exec(line)?.[1];
    if (comment !== undefined) {
      pending.push(comment);
      continue;
    }
    packageName = /^package ([\w.]+);/.exec(line)?.[1] ?? packageName;
    const scope = /^(message|enum|oneof|service) (\w+)/.exec(line);
    const member = /^(?:rpc (\w+)|[\w.<>, ]+ (\w+) = \d+)/.exec(line);
    // A oneof is no level of its own: its fields belong to the message.
    const owner = [packageName, ...scopes.filter((name) => name !== '')].join('.');
    if (member !== null)
      found.set(`${owner}${member[1] === undefined ? '.' : '/'}${member[1] ?? member[2]}`, pending.join(' '));
    if (scope !== null && !line.endsWith('}')) scopes.push(scope[1] === 'oneof' ? '' : (scope[2] ?? ''));
    else if (line.endsWith('{')) scopes.push('');
    else if (line === '}') scopes.pop();
    pending = [];
  }
  return found;
}

function load(): ProtoComments {
  const folder = join(repository, 'proto');
  const all = new Map(
    globSync('interlock/**/*.proto', { cwd: folder }).flatMap((file) => [
      ...commentsIn(readFileSync(join(folder, file), 'utf8')),
    ]),
  );
  return {
    field: (typeName, field) => (all.get(`${typeName}.${field}`) ?? '').replaceAll('`', ''),
    method: (service, method) => (all.get(`${service}/${method}`) ?? '').replaceAll('`', ''),
  };
}
