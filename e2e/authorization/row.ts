import type { Definition, Workload } from '@interlock/rpc';
import type { Place } from './place.ts';
import type { Rule } from './rule.ts';

/** One way to call an RPC: who may call it, and a small well-formed request. */
export interface Case<Request> {
  /** What distinguishes this case, if an RPC has several. */
  readonly when?: string;
  readonly rule: Rule;
  /** A list of messages for an RPC that takes a stream. */
  request(place: Place): Request;
}

/** One RPC of one service. */
export interface Row {
  readonly service: Workload;
  readonly definition: Definition;
  /** As clients name it: `createVault`. */
  readonly method: string;
  /** `interlock.key_vault.v1.KeyVaultService/CreateVault` */
  readonly rpc: string;
  readonly cases: readonly Case<unknown>[];
}

type RequestOf<Method> = Method extends {
  requestStream: infer Stream;
  requestType: { fromPartial(object: infer Message): unknown };
}
  ? Stream extends true
    ? readonly Message[]
    : Message
  : never;

/** One or more cases for each method. A missing method does not compile. */
export type CasesOf<D extends Definition> = {
  readonly [Method in keyof D['methods']]:
    | Case<RequestOf<D['methods'][Method]>>
    | readonly Case<RequestOf<D['methods'][Method]>>[];
};

/** Makes the rows of one API, as one service offers it, from its cases. */
export const rowsOf =
  <D extends Definition>(service: Workload, definition: D) =>
  (cases: CasesOf<D>): readonly Row[] =>
    Object.entries<Case<unknown> | readonly Case<unknown>[]>(cases).map(([method, given]) => ({
      service,
      definition,
      method,
      rpc: `${definition.fullName}/${definition.methods[method]?.name}`,
      cases: 'rule' in given ? [given] : given,
    }));
