/** Every bound of brig, with its unit in the name and its reason beside it. */
export const LIMITS = {
  /** A host command that takes longer is a wedged host (FACTS 0.10), not a slow one. */
  commandTimeoutMs: 30_000,
  /** zfs(8) may wait for a busy pool to commit. */
  zfsTimeoutMs: 120_000,
  /** Copying a disk of a terabyte at 100 MB a second takes some three hours. */
  copyTimeoutMs: 4 * 3_600_000,
  /** Building and compressing the base image reads 12 MB and writes 5. */
  baseBuildTimeoutMs: 120_000,
  /** Unpacked files of a jails' root together: some 12 MB; more is no root but a bomb. */
  baseBytes: 256 * 2 ** 20,
  /** Files of a jails' root, or of a sandbox: some 25 to 60. */
  baseFiles: 2_000,
  /** A signed manifest: some 200 bytes for each file. */
  manifestBytes: 2 ** 20,
  /** A key file is one line. */
  keyFileBytes: 4_096,
  /** A secret: keys and passwords are small, and a certificate's chain fits. */
  secretBytes: 64 * 2 ** 10,
  /** Characters: a guess costs 0.3 s here, and less where somebody has the store. */
  passphraseLeast: 12,
  passphraseMost: 1_000,
  /** A TPM unseals within seconds; an HSM may have to be reached first. */
  masterHookMs: 30_000,
  /** File systems may tell times by the second: what changed within this time may change again unseen. */
  settledMs: 2_000,
  /** bhyve runs iasl once before it is ready; slow emulated hosts take seconds. */
  readyTimeoutMs: 60_000,
  /** First pause between two looks at the same probe; it grows by the factor, up to the most. */
  probeFirstMs: 5,
  probeGrowth: 1.25,
  probeMaxMs: 100,
  /** A removed jail should be gone as soon as its devfs is unmounted. */
  jailGoneTimeoutMs: 30_000,
  /** umount(8) of the root may answer `Device busy` for a moment (FACTS S.4). */
  busyTimeoutMs: 10_000,
  /** Creates and starts at once for each core: each is some forty short commands, and waits for most of them. */
  workPerCore: 2,
  /** Stops, restarts and destroys at once for each core: a guest that shuts down is waited for, not worked for. */
  waitsPerCore: 8,
  /** Clean-ups, repairs and kills at once for each core: each is short. */
  ownPerCore: 2,
  /** Operations that wait for their turn: whoever comes then is told to come later. */
  operationsWaiting: 4_000,
  /** Between two looks at whether a VM that others wait for is ready. */
  bootPollMs: 250,
  /** Of one VM, looked through for whether it ran since the boot: a start and a stop are some 60. */
  bootEvents: 1_000,
  /** A port on the host's own networks answers at once, or its guest is not up. */
  connectTimeoutMs: 2_000,
  /** A VNC server says its version first, unless it has another client or is not what it seems. */
  screenGreetingMs: 5_000,
  /** How long all guests together get when the host goes down: rc.shutdown(8) gives all of rc(8) 90 s. */
  shutdownTimeoutMs: 60_000,
  /** What a guest that takes its time leaves, if it can, to each that has its turn after it. */
  shutdownReserveMs: 15_000,
  /** Once more for what was started, or restarted after a crash, in the meantime. */
  shutdownRounds: 3,
  /** How long a guest gets for its own shutdown unless --timeout says otherwise. */
  stopTimeoutMs: 30_000,
  /** ... at most: it holds a turn meanwhile. Windows takes some minutes for its updates. */
  graceMostMs: 3_600_000,
  /** After each harder stage of a stop. */
  stopStageMs: 5_000,
  /** Output kept of one command: error texts are short, listings of 1,000 VMs are not. */
  commandOutputBytes: 16 * 2 ** 20,
  /** stderr quoted in an error. */
  quotedBytes: 2_000,
  /** Connections that wait for brigd to accept them; the kernel may allow fewer (kern.ipc.soacceptqueue). */
  connectionsQueued: 4_096,
  /** Clocks of a client and of a node may differ so much; a signature counts for so long. */
  clockSkewMs: 60_000,
  /** Nonces remembered of one key: some 160 requests a second, for as long as a signature may count. */
  noncesPerKey: 20_000,
  /** ... of all keys together, some 100 bytes each. */
  nonces: 200_000,
  /** Signature-Input: names of ten headers and five parameters. */
  signatureInputBytes: 1_024,
  /** Rules that one principal other than root makes: each is looked at whenever any changes. */
  grantsEach: 500,
  /** Secrets of one owner. */
  secretsEach: 200,
  /** Snapshots of one VM that somebody asked for. */
  snapshotsEach: 200,
  /** Keys that a node knows, those that were revoked among them. */
  keys: 10_000,
  /** Connections from elsewhere, all together and from one address (or one /64). */
  remoteConnections: 1_024,
  remoteConnectionsPerAddress: 128,
  /** Until TLS is agreed on. */
  remoteHandshakeMs: 10_000,
  /** A connection that is kept for a next request. */
  remoteIdleMs: 30_000,
  /** First probe of a peer that says nothing: a console may be quiet for days. */
  remoteProbeMs: 60_000,
  /** Until a node elsewhere has agreed on TLS with a client. */
  loginTimeoutMs: 15_000,
  /** A request body: documents are small. */
  requestBytes: 2 ** 20,
  /** A body that does not come holds its request for so long. */
  bodyTimeoutMs: 30_000,
  /** Headers of a request: names and paths are short. */
  headerBytes: 16 * 2 ** 10,
  /** Between a connection and the end of its headers: half a request holds nothing for long. */
  headersTimeoutMs: 10_000,
  /** Between two looks for headers that never came. */
  headersCheckMs: 2_000,
  /** A connection that is kept for another request. */
  keepAliveMs: 5_000,
  /** An answer of which nobody reads more. */
  answerTimeoutMs: 60_000,
  /** ... of which each piece has that time: 4 KiB a second is slow enough for any link. */
  answerPieceBytes: 2 ** 18,
  /** What one slow reader of events may lag behind before he is cut off: some 5,000 of them. */
  streamLagBytes: 2 ** 20,
  /** Of one principal other than root: a person's script is below it, a flood is not. */
  requestsPerSecond: 200,
  requestBurst: 400,
  /** A request that costs as much as others counts as these. */
  requestsAtOnce: 256,
  /** Who would wait longer for his turn is told to come later. */
  requestWaitMs: 2_000,
  /** Refusals of one principal or peer are written down one by one, but no more often than this. */
  refusedToldMs: 10_000,
  refusedKnown: 1_000,
  /** ... after so long: who is refused holds his connection meanwhile, and sends no more. */
  requestRefusedMs: 1_000,
  /** Of one connection without an answer: clients send one after the other. */
  requestsPipelined: 2,
  /** Connections to a user's socket, and from one address elsewhere: a command makes one. */
  connectionsPerSecond: 200,
  connectionsBurst: 1_000,
  /** A user whose clients send more is not heard for so long. */
  deafMs: 2_000,
  /** Connections of one user's socket at once. */
  connectionsPerUser: 256,
  /** Principals whose rate is remembered. */
  principalsKnown: 10_000,
  /** Answers kept for each who may ask again with the same Idempotency-Key. */
  answersKept: 1_000,
  answersKeptMs: 86_400_000,
  /** Less room than this for the audit log is told: some days of busy tenants. */
  auditRoomBytes: 2 ** 30,
  /** Of what is said in one session of a console, where it is recorded. */
  recordingBytes: 2 ** 26,
  /** A listing in pieces. */
  pageMost: 10_000,
  /** Groups and users of this host are looked up again after this time, or when their files change. */
  accountsMaxAgeMs: 60_000,
  /** Values in a VM's document: ten times what the largest say. */
  documentParts: 5_000,
  /** Values in a request's body: a network may reserve thousands of addresses. */
  requestParts: 100_000,
  /** A VM document's file. */
  documentBytes: 2 ** 20,
  /** Console history kept on disk per VM, in two files of half this size. */
  consoleLogBytes: 2 * 2 ** 18,
  /** Console history that waits in memory for the disk. */
  consoleLogPendingBytes: 2 * 2 ** 20,
  /** A whole log is written over at most once a second, and a large one no faster than a console without readers. */
  consoleLogLeastPerSecond: 2 ** 18,
  consoleLogMostPerSecond: 2 ** 20,
  /** Between two writes of history: a guest that says a character at a time costs 20 writes a second. */
  consoleLogEveryMs: 50,
  /** Console history that a new reader gets first, unless he asks for more or less. */
  consoleReplayBytes: 16 * 2 ** 10,
  /** What a reader may ask for: all of the usual history. */
  consoleReplayMostBytes: 2 ** 20,
  /** One answer with history: all of the largest that a document may ask for. */
  consoleHistoryBytes: 64 * 2 ** 20,
  /** What a slow console reader may lag behind; what comes meanwhile is skipped, and he is told. */
  consoleLagBytes: 2 ** 20,
  /** A reader who lags behind no more than this has room: the console is read as fast as he takes it. */
  consoleRoomBytes: 2 ** 18,
  /** With a reader who has room: twice what is promised; at some 20 % of a core, nobody else's requests wait. */
  consoleFastPerSecond: 100 * 2 ** 20,
  consoleFastBurstBytes: 8 * 2 ** 20,
  /** With nobody who could take it: ninety serial lines of 115,200 baud. More waits in the FIFO, or is lost there. */
  consoleSlowPerSecond: 2 ** 20,
  consoleSlowBurstBytes: 2 ** 18,
  /** A read costs at least as much: bhyve writes its console byte by byte. */
  consoleReadBytes: 16 * 2 ** 10,
  /** Whoever has nothing more to say to a console, such as `nc -N` in a script, reads on for this long. */
  consoleHalfOpenMs: 1_000,
  /** Of one console at a time, of those who may not write: each gets a copy of everything. */
  consoleReaders: 32,
  /** Of one console and one principal: a person has a terminal or two, a CI job one. */
  consoleSessionsEach: 8,
  /** What is typed and goes nowhere: a person, or a screen that he pastes; a read costs at least so much. */
  consoleIgnoredPerSecond: 16 * 2 ** 10,
  consoleIgnoredBurstBytes: 64 * 2 ** 10,
  consoleIgnoredReadBytes: 256,
  /** Of one console's unix socket at a time. */
  consoleSocketConnections: 8,
  /** Events kept in the store. */
  eventsKept: 20_000,
  /** Pause between two whole-host observations when nothing is heard. */
  reconcileEveryMs: 5_000,
  /** A closing brigd waits for operations; the journal has the rest. rc(8) gives 90 s in all. */
  drainTimeoutMs: 60_000,
  /** A VM has some 15 to 40 parts; whoever breaks more of them at once waits for the next pass. */
  repairRounds: 40,
  /** Repairs of one part within the window before brig stops: somebody takes it away on purpose. */
  repairs: 3,
  repairWindowMs: 60_000,
  /** A part that cannot be repaired is tried again after this time, or when anything else about its VM changes. */
  repairAgainMs: 300_000,
  /** One pass in so many asks zfs(8), the slowest; the others look into one VM's vnet, in turn. */
  reconcileDeepEvery: 4,
  /** A listing may be this old: many who ask at once cost one observation. */
  lookMaxAgeMs: 500,
  /** devfs(8) truncates longer patterns with a warning only. Source: sbin/devfs/rule.c. */
  devfsPatternBytes: 199,
  /** VMs on one node: one leased slot each. */
  slots: 10_000,
  /** Units of tap and epair above those that people count up from 0. Source: ifconfig(8), unit <= 32767. */
  nicUnits: 20_000,
  /** Networks of a node: as many bridges, and VLAN or VXLAN interfaces beside them; a kind has 32,767 units. */
  networks: 4_096,
  /** Hooks that run at once, each a program of somebody else's. */
  hooksAtOnce: 4,
  /** Occasions that wait for their hooks: more are dropped, and told. */
  hooksWaiting: 2_000,
  /** What a hook says, kept in the log of events. */
  hookOutputBytes: 4_096,
  /** What a hook that has ended said is still read for this long. */
  hookDrainMs: 100,
  /** Several changes at once make one set of files of it. */
  leasesWriteMs: 100,
  /** A router that does not answer where an uplink's addresses are now: they go back. */
  routerTimeoutMs: 15_000,
  /** A file of the audit log: some 200,000 entries. None is ever removed. */
  auditFileBytes: 64 * 2 ** 20,
  /** Of a text in an entry: names are short, and what an attacker makes long is cut. */
  auditFieldChars: 512,
  auditDataFields: 16,
  /** Newest entries kept at hand for those who follow. */
  auditRecent: 1_024,
  /** syslogd(8) of FreeBSD cuts longer messages; its logger(1) makes two of them. */
  syslogLineBytes: 1_000,
  /** Lines that wait for logger(1): more are dropped, and told. */
  syslogQueued: 1_000,
  /** A logger(1) that ended is started again after this time, twice as long each time, up to the most. */
  syslogAgainMs: 1_000,
  syslogAgainMostMs: 60_000,
  /** Guest resets within the window before the supervisor gives up on a reboot loop. */
  resets: 10,
  resetWindowSeconds: 60,
} as const;

/** Bounds and measures of images. Units in the names. */
export const IMAGE = {
  /** Digests are of so much: what is wrong is found before it is written. */
  chunkBytes: 4 * 2 ** 20,
  /** A frame of an archive that tarfs(5) reads without what comes before it; at most kern.maxphys (FACTS 6.2). */
  frameBytes: 128 * 2 ** 10,
  disks: 16,
  /** 1 TiB: what a manifest of chunks may describe. */
  diskBytes: 2 ** 40,
  /** Of the text: some 70 bytes for each chunk, a terabyte of disks. */
  manifestBytes: 20 * 2 ** 20,
  /** A disk that grows while it is read, unless --max-size says otherwise: what decompresses to more is a bomb. */
  importBytes: 2 ** 40,
  /** zfs(8) wants a volume's size in multiples of its blocks. */
  volumeBlockBytes: 16 * 2 ** 10,
} as const;
