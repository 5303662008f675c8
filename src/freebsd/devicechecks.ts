import type { FileStat, Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import type { Finding, Vm } from '../platform/platform.ts';
import { DEVICES, partsOf, SWTPM } from './devices.ts';
import { whereOf, type Node } from './node.ts';
import { rulesetOf } from './plan.ts';

const problem = (what: string, got: string, mend?: string): Finding => ({
  level: 'problem',
  what,
  got,
  ...(mend === undefined ? {} : { mend }),
});

/** Why this node cannot, or may not, give the VM its devices. */
export const checkDevices = async (host: Host, node: Node, vm: Vm): Promise<Finding[]> => [
  ...checkPolicy(node, vm),
  ...checkRules(node, vm),
  ...checkFeatures(node, vm),
  ...(await checkNodes(host, vm)),
];

const checkPolicy = (node: Node, vm: Vm): Finding[] => {
  const devices = new Set(partsOf(vm, whereOf(node, vm)).map((part) => part.device));
  return [...devices].flatMap((device) => {
    const { refused } = DEVICES[device];
    return refused === undefined || node.allowDevices.includes(device)
      ? []
      : [problem(`devices that this node allows`, `${device}: ${refused}`, `allowDevices: [${device}] in brig.yaml`)];
  });
};

/** devfs(8) would cut a longer pattern short, and show what nobody asked for. */
const checkRules = (node: Node, vm: Vm): Finding[] =>
  rulesetOf(node, vm).flatMap(({ path }) => {
    const bytes = Buffer.byteLength(path ?? '');
    return bytes <= LIMITS.devfsPatternBytes
      ? []
      : [
          problem(
            `device names of at most ${LIMITS.devfsPatternBytes} bytes in devfs(8)`,
            `${bytes} bytes: /dev/${path}`,
            'choose a shorter dataset',
          ),
        ];
  });

const checkFeatures = (node: Node, { spec }: Vm): Finding[] => {
  const { vmmctl, jailParameters } = node.features;
  const { fbuf, passthru } = spec.devices;
  return [
    ...(fbuf && !vmmctl ? [problem('a bhyve with fbuf on a unix socket', 'FreeBSD 14, which offers TCP only')] : []),
    ...(passthru.length > 0 && !jailParameters.includes('allow.vmm_ppt')
      ? [problem('passthru in a jail (allow.vmm_ppt)', 'a kernel without it', 'freebsd-update fetch install')]
      : []),
  ];
};

const isDevice = (stat: FileStat | undefined): boolean => stat?.kind === 'device';
const isDirectory = (stat: FileStat | undefined): boolean => stat?.kind === 'directory';
const isFile = (stat: FileStat | undefined): boolean => stat?.kind === 'file';

/** What the document's devices must find on the host. */
const wantedOf = ({ spec }: Vm): [string, string, (stat: FileStat | undefined) => boolean, string | undefined][] => {
  const { devices } = spec;
  const sound = [devices.hda?.play, devices.hda?.rec].flatMap((path) => path ?? []);
  return [
    ...devices.passthru.map((ppt) => ['device', `/dev/${ppt}`, isDevice, `pptdevs="..." in loader.conf(5)`] as const),
    ...devices['virtio-scsi'].map((path) => ['device', path, isDevice, 'ctladm port -c'] as const),
    ...sound.map((path) => ['device', path, isDevice, 'kldload snd_driver'] as const),
    ...devices['virtio-9p'].map(({ path }) => ['directory', path, isDirectory, `mkdir -p ${path}`] as const),
    ...(devices.tpm ? [['program', SWTPM, isFile, 'pkg install swtpm && brig base build'] as const] : []),
  ].map(([kind, path, is, mend]) => [kind, path, is, mend]);
};

const checkNodes = async (host: Host, vm: Vm): Promise<Finding[]> => {
  const found = await Promise.all(
    wantedOf(vm).map(async ([kind, path, is, mend]) => {
      const stat = await host.stat(path);
      return is(stat) ? [] : [problem(`${kind} ${path}`, stat ? `a ${stat.kind}` : 'nothing there', mend)];
    }),
  );
  return found.flat();
};
