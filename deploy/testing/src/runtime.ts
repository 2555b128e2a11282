import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A program that runs containers. */
export type RuntimeName = 'podman' | 'docker';

/** Runs containers with podman or docker. */
export interface Runtime {
  readonly name: RuntimeName;
  /** Runs the program to its end. @returns its output @throws Error with its output */
  run(...args: readonly string[]): Promise<string>;
}

const outputBytesMax = 16 * 1024 * 1024;

const runtimeNamed = (name: RuntimeName): Runtime => ({
  name,
  async run(...args) {
    try {
      const { stdout } = await promisify(execFile)(name, [...args], { maxBuffer: outputBytesMax });
      return stdout.trim();
    } catch (cause) {
      const { stderr = '', message } = cause as Error & { readonly stderr?: string };
      throw new Error(`${name} ${args[0]} failed: ${stderr.trim() || message}`, { cause });
    }
  },
});

/** The wanted program, or the first of podman and docker that runs here. @throws Error if neither runs */
export const findRuntime = async (wanted: RuntimeName | undefined): Promise<Runtime> => {
  const problems: string[] = [];
  for (const name of wanted === undefined ? (['podman', 'docker'] as const) : [wanted]) {
    const runtime = runtimeNamed(name);
    try {
      await runtime.run('version');
      return runtime;
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error(`a program that runs containers is needed, podman or docker. ${problems.join('. ')}`);
};
