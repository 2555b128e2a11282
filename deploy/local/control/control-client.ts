import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { LauncherError } from '../data-folder.ts';
import type { CloudControl, PartProcess } from './cloud-control.ts';
import type { ControlCall, ControlRequest } from './control-server.ts';

/** Calls the control server of a launcher. @param path of its socket @throws LauncherError if it is gone, or refuses */
export const callControl = async <Result>(
  path: string,
  call: ControlCall,
  given: ControlRequest = {},
): Promise<Result> => {
  const { status, body } = await send(path, call, given);
  if (status === 200) return body as Result;
  throw new LauncherError(`${call} ${given.part ?? ''} failed: ${Object(body).error}`);
};

const send = (path: string, call: ControlCall, given: ControlRequest): Promise<{ status: number; body: unknown }> =>
  new Promise((resolve, reject) => {
    const sent = request({ socketPath: path, path: `/${call}`, method: 'POST', agent: false }, (response) => {
      json(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    sent.once('error', (cause) =>
      reject(new LauncherError(`the launcher does not respond on ${path}: ${cause.message}`, { cause })),
    );
    sent.end(JSON.stringify(given));
  });

/** Controls a cloud that another process runs. @param path of its control socket */
export const controlAt = (path: string): CloudControl => ({
  processes: () => callControl<readonly PartProcess[]>(path, 'processes'),
  kill: (part) => callControl(path, 'kill', { part }),
  restart: (part) => callControl(path, 'restart', { part }),
  pause: (part) => callControl(path, 'pause', { part }),
  resume: (part) => callControl(path, 'resume', { part }),
});
