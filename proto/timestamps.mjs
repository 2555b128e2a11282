const TIMESTAMP = '.google.protobuf.Timestamp';
/** Other messages of Google nest endlessly, and no request contains one. */
const GOOGLE = '.google.protobuf.';

/**
 * The timestamps in the requests of all methods, from a file descriptor set in protobuf JSON. Keys of maps and their values are left
 * out: no request has a map of timestamps.
 * @param {{ file?: readonly Record<string, any>[] }} set
 * @returns {Record<string, object[][]>} by path of the method, without those that have none: for each timestamp the fields that lead to it
 */
export function timestampsIn(set) {
  const types = new Map();
  for (const file of set.file ?? []) addTypes(types, `.${file.package}`, file.messageType);
  const found = {};
  for (const file of set.file ?? []) {
    for (const service of file.service ?? []) {
      for (const method of service.method) {
        const paths = pathsIn(types, types.get(method.inputType));
        if (paths.length > 0) found[`/${file.package}.${service.name}/${method.name}`] = paths;
      }
    }
  }
  return found;
}

/** Adds messages and those nested in them, by full name. */
function addTypes(types, scope, messages = []) {
  for (const message of messages) {
    const name = `${scope}.${message.name}`;
    types.set(name, message);
    addTypes(types, name, message.nestedType);
  }
}

/** For each timestamp below a message the fields that lead to it. */
function pathsIn(types, message) {
  return (message.field ?? []).flatMap((field) => {
    const step = stepOf(field, message);
    if (field.typeName === TIMESTAMP) return [[step]];
    const inner = types.get(field.typeName);
    if (inner === undefined || inner.options?.mapEntry || field.typeName.startsWith(GOOGLE)) return [];
    return pathsIn(types, inner).map((path) => [step, ...path]);
  });
}

/** A field by its name in the contract and by where generated code has it: a oneof is `{ $case, value }` there. */
function stepOf({ name, jsonName, oneofIndex, proto3Optional }, message) {
  const oneof = proto3Optional ? undefined : message.oneofDecl?.[oneofIndex]?.name;
  return {
    name,
    member: jsonName,
    ...(oneof === undefined ? {} : { oneof: oneof.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()) }),
  };
}
