/**
 * What a sandbox may not ask of the kernel, for `bwrap --seccomp`. QEMU and swtpm have filters of their own,
 * but only once they run, and theirs are not ours. Source: seccomp(2), linux/bpf_common.h, linux/audit.h
 */

/** Numbers on x86-64, and on the architectures of asm-generic/unistd.h: arm64, riscv64. Source: Linux 6.1 */
type Numbers = readonly [x86: number, generic: number];
const NOWHERE = -1;

/** Each would be refused without a right, too, but for those that need none: they reach kernel code of holes past. */
const DENIED: Readonly<Record<string, Numbers>> = {
  // Namespaces: with a user namespace anybody is root of some part of the kernel.
  unshare: [272, 97],
  setns: [308, 268],
  // File systems and roots.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  open_by_handle_at: [304, 265],
  fanotify_init: [300, 262],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  // Other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  kcmp: [312, 272],
  pidfd_getfd: [438, 438],
  // Keys belong to no namespace but the user's; a session keyring comes along from whoever started brigd.
  add_key: [248, 217],
  request_key: [249, 218],
  keyctl: [250, 219],
  // Code and buffers in the kernel.
  bpf: [321, 280],
  perf_event_open: [298, 241],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  userfaultfd: [323, 282],
  memfd_secret: [447, 447],
  // The host as a whole.
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  swapon: [167, 224],
  swapoff: [168, 225],
  acct: [163, 89],
  syslog: [103, 116],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  vhangup: [153, 58],
  // A core of no bytes would still be piped to a program of the host (CORE_BYTES of bwrap.ts).
  setrlimit: [160, 164],
  // Old ways into the hardware, and into other modes of the processor.
  personality: [135, 92],
  iopl: [172, NOWHERE],
  ioperm: [173, NOWHERE],
  modify_ldt: [154, NOWHERE],
};

const CLONE: Numbers = [56, 220];
const CLONE3: Numbers = [435, 435];
const SOCKET: Numbers = [41, 198];
const PRLIMIT64: Numbers = [302, 261];

/** Calls that change a mode, and which of their arguments it is. */
const CHMODS: readonly { readonly call: Numbers; readonly mode: number }[] = [
  { call: [90, NOWHERE], mode: 1 },
  { call: [91, 52], mode: 1 },
  { call: [268, 53], mode: 2 },
  { call: [452, 452], mode: 2 },
];
const SETUID_SETGID = 0o6000;

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. Source: linux/sched.h */
const CLONE_NEW = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/** AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. No network namespace holds AF_VSOCK: it leads to the hypervisor below. */
const FAMILIES = [1, 2, 10, 16];
const AF_NETLINK = 16;
/** The one protocol that a network namespace holds for sure: the host's uevents come through all of them. */
const NETLINK_ROUTE = 0;

/** The first number after fchmodat2: calls that are newer than this table. x86-64's with 32-bit pointers are above, too. */
const UNKNOWN = 453;

const ARCH = { x86: 0xc000_003e, arm64: 0xc000_00b7, riscv64: 0xc000_00f3 };

const ERRNO = { EPERM: 1, ENOSYS: 38, EAFNOSUPPORT: 97 };

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, value: number];

const load = (offset: number): Instruction => [0x20, 0, 0, offset];
const jumpEqual = (value: number, ifTrue: number, ifFalse: number): Instruction => [0x15, ifTrue, ifFalse, value];
/** Jumps on a condition reach 255 instructions, this one any number. */
const jump = (over: number): Instruction => [0x05, 0, 0, over];
const jumpAtLeast = (value: number, ifTrue: number, ifFalse: number): Instruction => [0x35, ifTrue, ifFalse, value];
const jumpAnyBit = (value: number, ifTrue: number, ifFalse: number): Instruction => [0x45, ifTrue, ifFalse, value];
const refuse = (errno: number): Instruction => [0x06, 0, 0, 0x0005_0000 | errno];
const ALLOW: Instruction = [0x06, 0, 0, 0x7fff_0000];

/** Offsets in struct seccomp_data; the low half of an argument comes first on all of these. */
const loadNumber = load(0);
const loadArch = load(4);
const loadLow = (argument: number): Instruction => load(16 + 8 * argument);
const loadHigh = (argument: number): Instruction => load(20 + 8 * argument);

/** Refuses a call where `test` falls through; it may jump over one instruction. Then looks for other calls. */
const refuseWhen = (call: number, test: readonly Instruction[], errno: number): Instruction[] =>
  call === NOWHERE ? [] : [jumpEqual(call, 0, test.length + 2), ...test, refuse(errno), loadNumber];

const hasBit = (argument: number, bits: number): Instruction[] => [loadLow(argument), jumpAnyBit(bits, 0, 1)];
/** Both halves: an address may have nothing in its lower one. */
const isNotNull = (argument: number): Instruction[] => [
  ...[loadLow(argument), jumpEqual(0, 0, 2)],
  ...[loadHigh(argument), jumpEqual(0, 1, 0)],
];
const isOtherNetlink: readonly Instruction[] = [
  ...[loadLow(0), jumpEqual(AF_NETLINK, 0, 3)],
  ...[loadLow(2), jumpEqual(NETLINK_ROUTE, 1, 0)],
];

/** For one table of numbers; ends in a verdict. */
const section = (column: 0 | 1): Instruction[] => {
  const numbers = Object.values(DENIED)
    .map((each) => each[column])
    .filter((each) => each !== NOWHERE);
  return [
    loadNumber,
    ...[jumpAtLeast(UNKNOWN, 0, 1), refuse(ERRNO.ENOSYS)],
    ...numbers.flatMap((number) => [jumpEqual(number, 0, 1), refuse(ERRNO.EPERM)]),
    // Its flags are in memory, where a filter cannot look; libc then takes clone(2).
    ...[jumpEqual(CLONE3[column], 0, 1), refuse(ERRNO.ENOSYS)],
    ...refuseWhen(CLONE[column], hasBit(0, CLONE_NEW), ERRNO.EPERM),
    ...refuseWhen(PRLIMIT64[column], isNotNull(2), ERRNO.EPERM),
    ...CHMODS.flatMap(({ call, mode }) => refuseWhen(call[column], hasBit(mode, SETUID_SETGID), ERRNO.EPERM)),
    ...refuseWhen(SOCKET[column], isOtherNetlink, ERRNO.EAFNOSUPPORT),
    ...[jumpEqual(SOCKET[column], 0, 2 + FAMILIES.length), loadLow(0)],
    ...FAMILIES.map((family, i) => jumpEqual(family, FAMILIES.length - i, 0)),
    refuse(ERRNO.EAFNOSUPPORT),
    ALLOW,
  ];
};

const program = (): Instruction[] => {
  const [x86, generic] = [section(0), section(1)];
  return [
    loadArch,
    ...[jumpEqual(ARCH.x86, 1, 0), jump(x86.length)],
    ...x86,
    // Beyond x86-64 the table is the same.
    ...[jumpEqual(ARCH.arm64, 2, 0), jumpEqual(ARCH.riscv64, 1, 0), jump(generic.length)],
    ...generic,
    // 32-bit programs: there are none in a sandbox.
    refuse(ERRNO.ENOSYS),
  ];
};

/** An array of struct sock_filter, little-endian as its machines are. Source: linux/filter.h */
export const renderFilter = (): Buffer => {
  const instructions = program();
  const bytes = Buffer.alloc(8 * instructions.length);
  for (const [i, [code, jumpTrue, jumpFalse, value]] of instructions.entries()) {
    bytes.writeUInt16LE(code, 8 * i);
    bytes.writeUInt8(jumpTrue, 8 * i + 2);
    bytes.writeUInt8(jumpFalse, 8 * i + 3);
    bytes.writeUInt32LE(value >>> 0, 8 * i + 4);
  }
  return bytes;
};
