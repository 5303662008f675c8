/** The same host process id, the same exit status. Source: jexec(8). */
export const jexec = (jail: string, program: string, args: readonly string[]): readonly string[] => [
  '/usr/sbin/jexec',
  '-l',
  jail,
  program,
  ...args,
];
