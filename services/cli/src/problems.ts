/** Exit codes of the command line. Documented in the README; scripts rely on them. */
export const ExitCode = {
  ok: 0,
  /** The request was refused, or failed. */
  refused: 1,
  /** The command line is wrong; nothing was sent. */
  usage: 2,
  /** A service did not respond, or asks to try later. */
  unreachable: 3,
} as const;

/** An error of the command line itself. */
export abstract class Problem extends Error {
  readonly exitCode: number = ExitCode.refused;
  /** gRPC status, `USAGE` or `FAILED`. */
  readonly code: string = 'FAILED';
  abstract readonly reason: string;
  readonly metadata: Readonly<Record<string, string>> = {};
  /** What the user can do. */
  readonly help: string | undefined = undefined;
}

/** What was typed is wrong; nothing was sent. The message says what is allowed. */
export class UsageError extends Problem {
  override readonly name = 'UsageError';
  override readonly exitCode = ExitCode.usage;
  override readonly code = 'USAGE';
  override readonly reason = 'USAGE';
}

/** No cloud is named, or none runs where it should. */
export class NoCloud extends Problem {
  override readonly name = 'NoCloud';
  override readonly exitCode = ExitCode.unreachable;
  override readonly code = 'UNAVAILABLE';
  override readonly reason = 'NO_CLOUD';
}

/** A file, or standard output, cannot be written. */
export class OutputProblem extends Problem {
  override readonly name = 'OutputProblem';
  override readonly reason = 'OUTPUT_NOT_WRITTEN';
  override readonly help: string;
  constructor(message: string, help: string, cause?: unknown) {
    super(message, { cause });
    this.help = help;
  }
}

/** A twin was written, and machines of the files are not in it. */
export class TwinIncomplete extends Problem {
  override readonly name = 'TwinIncomplete';
  override readonly reason = 'MACHINES_LEFT_OUT';
  override readonly help =
    'The lines "not mapped" say why. Answers about this twin do not cover these machines: add the missing rows, or take them out of the files';
  constructor(machines: readonly string[]) {
    super(
      `${machines.length === 1 ? '1 machine is' : `${machines.length} machines are`} not in the twin: ${machines.join(', ')}`,
    );
  }
}

/** The Kubernetes cluster cannot be used. The message says what to do. */
export class ClusterProblem extends Problem {
  override readonly name = 'ClusterProblem';
  override readonly reason = 'CLUSTER';
}

/** The launcher refused a fault, or could not carry it out. The message is its reason. */
export class FaultFailed extends Problem {
  override readonly name = 'FaultFailed';
  override readonly reason = 'FAULT_FAILED';
}

/** An image could not be copied. */
export class ImageProblem extends Problem {
  override readonly name = 'ImageProblem';
  override readonly reason = 'IMAGE_NOT_COPIED';
  override readonly help: string;
  constructor(message: string, help: string, cause?: unknown) {
    super(message, { cause });
    this.help = help;
  }
}

/** No spans of a trace are known here. */
export class TraceNotFound extends Problem {
  override readonly name = 'TraceNotFound';
  override readonly code = 'NOT_FOUND';
  override readonly reason = 'TRACE_NOT_FOUND';
}

/** A resource did not reach the state that was waited for. */
export class NotSettled extends Problem {
  override readonly name = 'NotSettled';
  /** Stable code, for example a KeyAccessReason; `TIMEOUT` while the operation still runs. */
  override readonly reason: string;
  override readonly metadata: Readonly<Record<string, string>>;
  /** Whether the message gets the disk, key version and time of the metadata. */
  readonly addsFacts: boolean;
  constructor(reason: string, message: string, metadata: Readonly<Record<string, string>> = {}, addsFacts = true) {
    super(message);
    this.reason = reason;
    this.metadata = metadata;
    this.addsFacts = addsFacts;
  }
}

/** A call got no response, and its work continues without it. */
export class WorkContinues extends Problem {
  override readonly name = 'WorkContinues';
  override readonly exitCode = ExitCode.unreachable;
  override readonly code = 'DEADLINE_EXCEEDED';
  override readonly reason = 'NO_ANSWER';
  override readonly help: string;
  /** @param look the command, after `interlock`, that shows the state of the work */
  constructor(message: string, look: string, cause: unknown) {
    super(message, { cause });
    this.help = `The operation may continue in the cloud. Repeat the command with --wait to wait for it (2m; longer with --timeout), or show its state: interlock ${look}`;
  }
}
