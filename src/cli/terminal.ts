const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** Meanwhile `clean` runs before a signal ends brig. Returns how to stop that. */
export const onSignals = (clean: () => void): (() => void) => {
  const handlers = Object.entries(SIGNALS).map(([signal, status]) => {
    const end = (): void => {
      clean();
      process.exit(status);
    };
    return [signal, end] as const;
  });
  for (const [signal, end] of handlers) process.on(signal, end);
  return () => {
    for (const [signal, end] of handlers) process.off(signal, end);
  };
};

/** The terminal without echo and line editing while `work` goes on: given back on every way out. */
export const withRawTerminal = async (work: () => Promise<void>): Promise<void> => {
  const { stdin } = process;
  if (!stdin.isTTY) return await work();
  const restore = (): void => void stdin.setRawMode(false);
  // An uncaught error ends in `exit` too.
  process.on('exit', restore);
  // Nothing but that end is to be done.
  const stop = onSignals(() => undefined);
  stdin.setRawMode(true);
  try {
    await work();
  } finally {
    restore();
    process.off('exit', restore);
    stop();
  }
};
