import { request } from 'node:http';

/** Run as a user, with a list of requests on stdin: prints what each was answered, as JSON. */
interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

const send = (socketPath: string, { method, path, body, headers }: Asked): Promise<{ status: number; text: string }> =>
  new Promise((resolve) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    // Node says it for no DELETE: its body would be the next request.
    const all = { host: 'brigd', 'content-length': String(text.length), ...headers };
    const sent = request({ socketPath, method, path, headers: all, agent: false });
    sent.on('error', (error: NodeJS.ErrnoException) => resolve({ status: 0, text: error.code ?? error.message }));
    sent.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('close', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, text: JSON.stringify(response.headers) });
    });
    sent.end(text);
  });

const chunks: Buffer[] = [];
for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
const answers = [];
for (const each of JSON.parse(Buffer.concat(chunks).toString('utf8')) as Asked[])
  answers.push(await send(process.argv[2] ?? '', each));
process.stdout.write(JSON.stringify(answers));
