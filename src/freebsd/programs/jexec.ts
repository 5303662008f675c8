/** The same host process id, the same exit status; environment and limits are the caller's. Source: jexec(8). */
export const jexec = (jail: string, command: readonly string[]): readonly string[] => [
  '/usr/sbin/jexec',
  jail,
  ...command,
];
