import type { Paths } from '../base/placed.ts';

/** Every path of brig on a node, in one place. Of `runDir` a boot removes files and sockets, `stateDir` stays. */
export const layout = (paths: Paths) => ({
  socket: `${paths.runDir}/brigd.sock`,
  /** A socket for each user of whom a rule speaks. */
  usersDir: `${paths.runDir}/users`,
  userSocket: (uid: number) => `${paths.runDir}/users/${uid}.sock`,
  supervisor: `${paths.runDir}/supervise.sh`,
  /** Made by the first brigd after a boot. */
  booted: `${paths.runDir}/booted`,
  /** There while the VMs start after a boot: when that began, in milliseconds since the epoch. */
  booting: `${paths.runDir}/booting`,
  /** One file per VM whose process ended; the directory that brigd watches. */
  exits: `${paths.runDir}/exits`,
  /** Sockets of consoles, for other tools. */
  consolesDir: `${paths.runDir}/consoles`,
  store: `${paths.stateDir}/brig.db`,
  /** A directory for each VM that is running or was not cleaned up. */
  vmsDir: `${paths.runDir}/vms`,
  /** A directory for each VM that is defined. */
  statesDir: `${paths.stateDir}/vms`,
  baseDir: `${paths.stateDir}/base`,
  /** Manifests of images, and below `disks` their disks where these are files. */
  imagesDir: `${paths.stateDir}/images`,
  imageDisksDir: `${paths.stateDir}/images/disks`,
  /** brigd's own certificate for clients elsewhere, and its key. */
  tlsDir: `${paths.stateDir}/tls`,
  keysDir: `${paths.stateDir}/keys`,
  /** The audit log's files. */
  auditDir: `${paths.stateDir}/audit`,
  /** Of sessions of consoles, where the configuration keeps them. */
  recordingsDir: `${paths.stateDir}/recordings`,
  vm: (name: string) => {
    const run = `${paths.runDir}/vms/${name}`;
    const state = `${paths.stateDir}/vms/${name}`;
    return {
      run,
      /** Mount point of the jail's root. */
      root: `${run}/root`,
      /** Read-only /vm of the guest's process: configuration and firmware. */
      config: `${run}/vm`,
      conIn: `${run}/con.in`,
      conOut: `${run}/con.out`,
      /** stderr of the running process, new for each run. */
      err: `${run}/err`,
      /** Its presence tells the supervisor not to restart. */
      stop: `${run}/stop`,
      /** Where a cloud-init seed is put together, and made. */
      seed: `${run}/seed`,
      newSeed: `${run}/seed.iso`,
      exit: `${paths.runDir}/exits/${name}`,
      resets: `${paths.runDir}/exits/${name}.resets`,
      state,
      /** Writable /disk of the guest's process: file disks and UEFI variables. */
      disk: `${state}/disk`,
      /** A directory for each snapshot that has copies of files. */
      snapshots: `${state}/snapshots`,
      consoleLog: `${state}/console.log`,
    };
  },
});

export type Layout = ReturnType<typeof layout>;
