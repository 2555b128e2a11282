/** What of a file descriptor set in protobuf JSON is read. */
export interface DocumentedSet {
  readonly file?: readonly unknown[];
}
/** The comments of methods and fields by full name: `package.Message.field`, `package.Service/Method`. */
export function commentsIn(set: DocumentedSet): Map<string, string>;
