import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { connects } from '../../../src/io/connect.ts';

test('a port answers as long as somebody listens', async () => {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  expect(await connects('127.0.0.1', port)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await connects('127.0.0.1', port)).toBe(false);
});
