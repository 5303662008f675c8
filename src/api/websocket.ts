import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';

/** noVNC sends what a person does: some bytes, or what he pastes. */
const MESSAGE_BYTES = 2 ** 20;
const POLICY_VIOLATION = 1003;

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES,
  handleProtocols: (offered) => (offered.has('binary') ? 'binary' : false),
});

/** A request for a websocket, answered: the bytes of its binary frames. Rejects when it is none, or its client gone. */
export const acceptWebSocket = (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    const refused = (): void => reject(new Error('no websocket'));
    socket.once('close', refused);
    // Who was gone before does not say so any more.
    if (socket.destroyed) return refused();
    server.handleUpgrade(request, socket, head, (came) => {
      socket.off('close', refused);
      came.on('message', (_, isBinary) => {
        if (!isBinary) came.close(POLICY_VIOLATION, 'binary frames only');
      });
      const stream = createWebSocketStream(came);
      stream.on('error', () => stream.destroy());
      resolve(stream);
    });
  });

const LOOPBACK = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/;

/** Takes a connection as HTTP: only a request for this very path becomes a websocket, and none from a strange page. */
export const webDoor = (path: string, onClient: (client: Duplex) => void): ((socket: Duplex) => void) => {
  const http = createServer((_, response) => response.writeHead(404).end());
  http.on('upgrade', (request, socket: Duplex, head: Buffer) => {
    const { origin } = request.headers;
    socket.on('error', () => socket.destroy());
    if (request.url !== path || (origin !== undefined && !LOOPBACK.test(origin)))
      return void socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
    acceptWebSocket(request, socket, head).then(onClient, () => socket.destroy());
  });
  return (socket) => void http.emit('connection', socket);
};
