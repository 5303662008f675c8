import { BrigError } from '../../base/errors.ts';
import { print, printJson, withVerbs, type Call, type CliVerb, type Options, type Values } from '../command.ts';
import { asList, asNumber, asText, given, readDocument, toLabel } from '../document.ts';
import { renderLeases, renderNetwork, renderNetworks } from '../network-render.ts';
import { hasLabels, labelsOf } from '../select.ts';
import { withProgress } from '../progress.ts';

const usage = (expected: string, verb: CliVerb): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: brig network ${verb.usage}` });

const some = (value: Values[string]): string[] | undefined => (value === undefined ? undefined : asList(value));

/** A VLAN has one uplink, a bridge some. */
const uplinksOf = (kind: string | undefined, values: Values): Record<string, unknown> => {
  const uplinks = some(values.uplink);
  return kind === 'vlan' ? { uplink: uplinks?.[0] } : { uplinks };
};

/** A document from flags; what is wrong in it the schema says. */
const toDocument = (name: string, values: Values): unknown => {
  const kind = asText(values.kind);
  return given({
    name,
    kind,
    ...uplinksOf(kind, values),
    subnets: some(values.subnet)?.map((cidr) => ({ cidr })),
    tag: asNumber(asText(values.tag)),
    trunk: asText(values.trunk),
    vni: asNumber(asText(values.vni)),
    local: asText(values.local),
    remote: asText(values.remote),
    bridge: asText(values.bridge),
    out: asText(values.out),
    mtu: asNumber(asText(values.mtu)),
    group: asText(values.group),
    isolation: asText(values.isolation),
    persistent: values.persistent,
    moveAddresses: values['move-addresses'],
    labels: values.label === undefined ? undefined : Object.fromEntries(asList(values.label).map(toLabel)),
  });
};

/** Checked here as well as by brigd: problems show with the file's name. */
const documentOf = async ({ values }: Call, name: string | undefined): Promise<unknown> => {
  const [{ parseText }, { parseNetwork }] = await Promise.all([
    import('../../spec/document.ts'),
    import('../../spec/network.ts'),
  ]);
  const file = asText(values.file);
  if ((file === undefined) === (name === undefined))
    throw usage(`-f FILE or NAME, got ${file === undefined ? 'neither' : 'both'}`, create);
  const document = file === undefined ? toDocument(name ?? '', values) : parseText(await readDocument(file), file);
  parseNetwork(document, file ?? 'flags');
  return document;
};

const KINDS = ['bridge', 'vlan', 'vxlan', 'routed', 'nat', 'external'];

const text = (value: string, about: string, is: 'text' | 'file' | 'network' | readonly string[] = 'text') =>
  ({ type: 'string', value, about, is }) as const;
const many = (value: string, about: string) => ({ type: 'string', multiple: true, value, about, is: 'text' }) as const;

const FILE = { ...text('FILE', 'a document, brig-network(7); - reads stdin', 'file'), short: 'f' };
const labels = (about: string): Options => ({
  label: { type: 'string', multiple: true, about, value: 'K=V', is: 'network-label' },
});

const OPTIONS: Options = {
  file: FILE,
  kind: text('KIND', `what it is: ${KINDS.join(', ')}`, KINDS),
  subnet: many('CIDR', 'a subnet that its addresses come from'),
  uplink: many('IF', 'an interface of the host that it goes out by'),
  tag: text('N', 'the tag of a vlan'),
  trunk: text('NETWORK', 'the network whose uplinks carry the vlan', 'network'),
  vni: text('N', 'the number of a vxlan'),
  local: text('ADDRESS', "this host's end of a vxlan"),
  remote: text('ADDRESS', 'the other end of a vxlan'),
  bridge: text('IF', 'a bridge that somebody else made, for kind external'),
  out: text('IF', 'the interface whose address the world sees, for kind nat'),
  mtu: text('N', 'the largest packet, in bytes'),
  group: text('GROUP', 'networks of one group do not overlap'),
  isolation: text('WHO', 'who is kept apart: each vm, the VMs of each owner, or none', ['vm', 'owner', 'none']),
  persistent: { type: 'boolean', about: 'it stays although nobody uses it' },
  'move-addresses': { type: 'boolean', about: "the uplink's addresses are the bridge's meanwhile" },
  ...labels('a label, to select networks by'),
};

const create: CliVerb = {
  usage:
    'create -f FILE | NAME --kind bridge|vlan|vxlan|routed|nat|external [--subnet CIDR]... [--uplink IF]... [--tag N] [--trunk NETWORK] [--vni N] [--local ADDRESS] [--remote ADDRESS] [--bridge IF] [--out IF] [--mtu N] [--group GROUP] [--isolation vm|owner|none] [--persistent] [--move-addresses] [--label K=V]...',
  summary: 'define a network from a document or from flags; it is made when its first user starts',
  options: OPTIONS,
  operands: [0, 1],
  complete: ['text'],
  examples: [
    'brig network create lan --kind nat --subnet 10.20.0.0/24',
    'brig network create office --kind vlan --uplink em0 --tag 20',
    'brig network create -f lan.yaml',
  ],
  run: async (call, name?: string) => {
    const document = await documentOf(call, name);
    const what = `create network ${(document as { name: string }).name}`;
    const made = await withProgress(call.client, what, true, (on) => call.client.createNetwork(document, on));
    if (call.json) printJson(made);
  },
};

const list: CliVerb = {
  usage: 'list [--label K[=V]]...',
  summary: 'all networks, or those with the labels',
  options: labels('only those that have the label'),
  operands: [0, 0],
  complete: [],
  examples: ['brig network list', 'brig network list --label site=home --json'],
  run: async (call) => {
    const wanted = labelsOf(call);
    const all = (await call.client.networks()).filter((each) => hasLabels(each.labels, wanted));
    if (call.json) printJson(all);
    else print(renderNetworks(all));
  },
};

const show: CliVerb = {
  usage: 'show NAME',
  summary: 'its state on the host, how many addresses are left, its VMs and jails',
  options: {},
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network show lan', 'brig network show lan --json'],
  run: async (call, name: string) => {
    const network = await call.client.network(name);
    if (call.json) printJson(network);
    else print(renderNetwork(network));
  },
};

const leases: CliVerb = {
  usage: 'leases NAME',
  summary: 'whose its addresses are',
  options: {},
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network leases lan', 'brig network leases lan --json'],
  run: async (call, name: string) => {
    const all = await call.client.leases(name);
    if (call.json) printJson(all);
    else print(renderLeases(all, Date.now()));
  },
};

const edit: CliVerb = {
  usage: 'edit NAME -f FILE',
  summary: 'give a network another document',
  options: { file: FILE },
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network edit lan -f lan.yaml', 'brig network edit lan --file lan.yaml --json'],
  run: async (call, name: string) => {
    if (call.values.file === undefined) throw usage('-f FILE with edit, got none', edit);
    // Read first: whoever changes it while this document is on its way is not written over.
    const tag = await call.client.networkTag(name);
    const document = await documentOf(call, undefined);
    const edited = await withProgress(call.client, `edit network ${name}`, false, (on) =>
      call.client.editNetwork(name, document, on, tag),
    );
    if (call.json) printJson(edited);
  },
};

const JAIL = text('JAIL', 'a vnet jail of this host');

const attach: CliVerb = {
  usage: 'attach NAME --jail JAIL [--address A/P]... [--mac MAC] [--owner OWNER] [--gateway] [--label K=V]...',
  summary: 'give a vnet jail an interface on the network, with addresses, which are printed',
  options: {
    jail: JAIL,
    address: many('A/P', 'an address that it asks for'),
    mac: text('MAC', 'the hardware address'),
    owner: text('OWNER', 'whose it is'),
    gateway: { type: 'boolean', about: "the subnet's gateway is its default route" },
    ...labels('a label, for rules'),
  },
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network attach lan --jail db', 'brig network attach lan --jail db --address 10.20.0.5/24 --gateway'],
  run: async (call, name: string) => {
    const { values } = call;
    const jail = asText(values.jail);
    if (jail === undefined) throw usage('--jail JAIL with attach, got none', attach);
    const about = given({
      addresses: some(values.address),
      labels: values.label === undefined ? undefined : Object.fromEntries(asList(values.label).map(toLabel)),
      mac: asText(values.mac),
      owner: asText(values.owner),
      gateway: values.gateway,
    });
    const attached = await withProgress(call.client, `attach jail ${jail} to network ${name}`, false, (on) =>
      call.client.attachJail(name, jail, about, on),
    );
    if (call.json) printJson(attached);
    else print(attached.addresses.join('\n'));
  },
};

const detach: CliVerb = {
  usage: 'detach NAME --jail JAIL',
  summary: 'take the interface of a jail back',
  options: { jail: JAIL },
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network detach lan --jail db', 'brig network detach lan --jail db --json'],
  run: async (call, name: string) => {
    const jail = asText(call.values.jail);
    if (jail === undefined) throw usage('--jail JAIL with detach, got none', detach);
    const outcome = await withProgress(call.client, `detach jail ${jail} from network ${name}`, false, (on) =>
      call.client.detachJail(name, jail, on),
    );
    if (call.json) printJson(outcome);
  },
};

const destroy: CliVerb = {
  usage: 'destroy NAME',
  summary: 'remove a network that no VM and no jail is on',
  options: {},
  operands: [1, 1],
  complete: ['network'],
  examples: ['brig network destroy lan', 'brig network destroy lan --json'],
  run: async (call, name: string) => {
    const outcome = await withProgress(call.client, `destroy network ${name}`, false, (on) =>
      call.client.destroyNetwork(name, on),
    );
    if (call.json) printJson(outcome);
  },
};

export const networkCommand = withVerbs('network', 'networks: what VMs are on, and whose addresses are whose', {
  create,
  list,
  show,
  leases,
  edit,
  attach,
  detach,
  destroy,
});
