/** Field numbers in descriptor.proto, as they stand in the paths of source locations. */
const FILE_MESSAGE = 4;
const FILE_SERVICE = 6;
const MESSAGE_FIELD = 2;
const MESSAGE_NESTED = 3;
const SERVICE_METHOD = 2;

/**
 * The comments of methods and fields, from a file descriptor set with source info in protobuf JSON.
 * Lines of a comment are joined by spaces; backquotes are left out, because a terminal shows them as they are.
 * @param {{ file?: readonly Record<string, any>[] }} set
 * @returns {Map<string, string>} by full name: `package.Message.field`, `package.Service/Method`; without those that have no comment
 */
export function commentsIn(set) {
  const found = new Map();
  for (const file of set.file ?? []) {
    for (const { path = [], leadingComments } of file.sourceCodeInfo?.location ?? []) {
      const name = leadingComments === undefined ? undefined : nameAt(file, path);
      if (name !== undefined) found.set(name, leadingComments.replace(/\s+/g, ' ').replaceAll('`', '').trim());
    }
  }
  return found;
}

/** Full name of the method or field that a path leads to; undefined for anything else. */
function nameAt(file, [kind, index, ...rest]) {
  if (kind === FILE_SERVICE) {
    const service = file.service[index];
    const [member, at, ...more] = rest;
    if (member !== SERVICE_METHOD || more.length > 0) return undefined;
    return `${file.package}.${service.name}/${service.method[at].name}`;
  }
  if (kind !== FILE_MESSAGE) return undefined;
  let message = file.messageType[index];
  let name = `${file.package}.${message.name}`;
  while (rest.length > 2 && rest[0] === MESSAGE_NESTED) {
    message = message.nestedType[rest[1]];
    name += `.${message.name}`;
    rest = rest.slice(2);
  }
  return rest.length === 2 && rest[0] === MESSAGE_FIELD ? `${name}.${message.field[rest[1]].name}` : undefined;
}
