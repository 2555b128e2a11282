import { commentsJson } from '@interlock/contracts/comments.ts';

/** Comments of the contracts on methods and fields: the text of help. */
export interface Comments {
  /** Comment of a field; empty where it has none. @param typeName full name of its message */
  field(typeName: string, field: string): string;
  /** Comment of a method; empty where it has none. @param service full name */
  method(service: string, method: string): string;
}

let parsed: Readonly<Record<string, string>> | undefined;
const textOf = (name: string): string => {
  parsed ??= JSON.parse(commentsJson) as Readonly<Record<string, string>>;
  return parsed[name] ?? '';
};

/** Parsed at the first use: most commands show no help. */
export const comments: Comments = {
  field: (typeName, field) => textOf(`${typeName}.${field}`),
  method: (service, method) => textOf(`${service}/${method}`),
};
