import type { Attributes } from '@opentelemetry/api';
import { FormerAttribute, formerOperations, MessagingAttribute, type OperationType } from './conventions.ts';
import type { Resolved } from './options.ts';

/** What is known of an operation when its span starts. */
export interface Operation {
  /** `publish`, `fetch`, `process`, `ack` … */
  readonly name: string;
  readonly type: OperationType;
  readonly subject: string;
  /** Name of the consumer that received the messages. */
  readonly consumer?: string | undefined;
  readonly stream?: string | undefined;
  /** Number of messages, for an operation on a batch. */
  readonly batchCount?: number | undefined;
}

/** Attributes of a span and of its metrics. */
export interface OperationAttributes {
  readonly spanName: string;
  readonly span: Attributes;
  /** Those of low cardinality. */
  readonly metric: Attributes;
}

const serverOf = (address: string): Attributes => {
  const [, host = address, port] = /^(?:\w+:\/\/)?\[?(.+?)\]?(?::(\d+))?$/.exec(address) ?? [];
  return {
    [MessagingAttribute.serverAddress]: host,
    ...(port === undefined ? {} : { [MessagingAttribute.serverPort]: Number(port) }),
  };
};

/** Renders the attributes of operations. What is the same for all operations is computed once per server. */
export const operationAttributes = ({ connection, template, emitsBoth }: Resolved) => {
  let knownAddress: string | undefined;
  let server: Attributes = {};
  const currentServer = (): Attributes => {
    const address = connection?.getServer();
    if (address === undefined || address === '') return {};
    if (address !== knownAddress) server = serverOf(address);
    knownAddress = address;
    return server;
  };
  return ({ name, type, subject, consumer, stream, batchCount }: Operation): OperationAttributes => {
    const destinationTemplate = template(subject);
    const clientId = connection?.info?.client_id;
    const metric: Attributes = {
      [MessagingAttribute.system]: 'nats',
      [MessagingAttribute.operationName]: name,
      [MessagingAttribute.operationType]: type,
      ...(destinationTemplate === undefined ? {} : { [MessagingAttribute.destinationTemplate]: destinationTemplate }),
      ...(consumer === undefined ? {} : { [MessagingAttribute.subscription]: consumer }),
      ...currentServer(),
    };
    const span: Attributes = {
      ...metric,
      [MessagingAttribute.destination]: subject,
      ...(stream === undefined ? {} : { [MessagingAttribute.stream]: stream }),
      ...(batchCount === undefined ? {} : { [MessagingAttribute.batchCount]: batchCount }),
      ...(clientId === undefined ? {} : { [MessagingAttribute.clientId]: String(clientId) }),
      ...(emitsBoth
        ? {
            [FormerAttribute.system]: 'nats',
            [FormerAttribute.operation]: formerOperations[type],
            ...(clientId === undefined ? {} : { [FormerAttribute.clientId]: String(clientId) }),
          }
        : {}),
    };
    return { spanName: `${name} ${destinationTemplate ?? subject}`, span, metric };
  };
};
