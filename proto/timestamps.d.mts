/** What of a file descriptor set in protobuf JSON is read. */
export interface DescribedSet {
  readonly file?: readonly unknown[];
}
/** One field on the way to a timestamp. */
export interface FieldStep {
  readonly name: string;
  readonly member: string;
  readonly oneof?: string;
}
/** By path of a method: for each timestamp in its request the fields that lead to it. Methods without one are missing. */
export function timestampsIn(set: DescribedSet): Record<string, FieldStep[][]>;
