const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** The terminal without echo and line editing while `work` goes on: given back on every way out. */
export const withRawTerminal = async (work: () => Promise<void>): Promise<void> => {
  const { stdin } = process;
  if (!stdin.isTTY) return await work();
  const restore = (): void => void stdin.setRawMode(false);
  const handlers = Object.entries(SIGNALS).map(([signal, status]) => [signal, () => process.exit(status)] as const);
  // An uncaught error ends in `exit` too.
  process.on('exit', restore);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  stdin.setRawMode(true);
  try {
    await work();
  } finally {
    restore();
    process.off('exit', restore);
    for (const [signal, handler] of handlers) process.off(signal, handler);
  }
};
