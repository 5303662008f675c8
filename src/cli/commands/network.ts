import { BrigError } from '../../base/errors.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { LeaseView, NetworkDetail, NetworkView } from '../../platform/networks.ts';
import { print, printJson, type Call, type CliCommand, type Values } from '../command.ts';
import { asList, asNumber, asText, given, readDocument, toLabel } from '../document.ts';
import { hasLabels, labelsOf } from '../select.ts';
import { withProgress } from '../progress.ts';
import { paint, table } from '../render.ts';

const USAGE: Readonly<Record<string, string>> = {
  create:
    'create -f FILE | NAME --kind bridge|vlan|vxlan|routed|nat|external [--subnet CIDR]... [--uplink IF]... [--tag N] [--trunk NETWORK] [--vni N] [--local ADDRESS] [--remote ADDRESS] [--bridge IF] [--out IF] [--mtu N] [--group GROUP] [--isolation vm|owner|none] [--persistent] [--move-addresses] [--label K=V]...',
  list: 'list [--label K[=V]]...',
  show: 'show NAME',
  leases: 'leases NAME',
  edit: 'edit NAME -f FILE',
  attach: 'attach NAME --jail JAIL [--address A/P]... [--mac MAC] [--owner OWNER] [--gateway] [--label K=V]...',
  detach: 'detach NAME --jail JAIL',
  destroy: 'destroy NAME',
};

/** With the usage of one verb, or the names of all. */
const usage = (expected: string, verb?: string): BrigError => {
  const line = verb === undefined ? `${Object.keys(USAGE).join('|')} ...` : (USAGE[verb] ?? '');
  return new BrigError('usage.invalid', `read arguments: expected ${expected}`, {
    hint: `usage: brig network ${line}`,
  });
};

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
    throw usage(`-f FILE or NAME, got ${file === undefined ? 'neither' : 'both'}`, 'create');
  const document = file === undefined ? toDocument(name ?? '', values) : parseText(await readDocument(file), file);
  parseNetwork(document, file ?? 'flags');
  return document;
};

const renderList = (networks: readonly NetworkView[]): string => {
  const head = ['NAME', 'KIND', 'STATE', 'INTERFACE', 'GROUP', 'SUBNETS', 'VMS'];
  const rows = networks.map((each) => [
    ...[each.name, each.kind, each.state, each.interface ?? '-', each.group],
    each.subnets.map(({ cidr }) => cidr).join(',') || '-',
    String(each.vms.length),
  ]);
  const [heading = [], ...lines] = table([head, ...rows]);
  return [paint('bold', heading.join('  ')), ...lines.map((line) => line.join('  ').trimEnd())].join('\n');
};

const renderShow = (network: NetworkDetail): string => {
  const lines: [string, string][] = [
    ['name', network.name],
    ['kind', network.kind],
    ['state', network.state],
    ['group', network.group],
    ...(network.interface === undefined ? [] : [['interface', network.interface] as [string, string]]),
    ...(network.mtu === undefined ? [] : [['mtu', String(network.mtu)] as [string, string]]),
    ['persistent', network.persistent ? 'yes' : 'no'],
    ['isolation', network.isolation],
    ...network.subnets.map(({ cidr, gateway, size, free }): [string, string] => [
      'subnet',
      `${cidr}${gateway === undefined ? '' : ` gateway ${gateway}`}, ${free} of ${size} free`,
    ]),
    ['VMs', network.vms.join(', ') || 'none'],
    ...network.jails.map(({ jail, state, addresses, reason }): [string, string] => [
      `jail ${jail}`,
      escapeControls([state, ...addresses, ...(reason === undefined ? [] : [`(${reason})`])].join(' ')),
    ]),
    ...Object.entries(network.labels).map(([key, value]): [string, string] => [`label ${key}`, escapeControls(value)]),
    ...network.faults.map(({ because, reason }): [string, string] => [
      'fault',
      escapeControls(`${because}: ${reason}`),
    ]),
  ];
  return table(lines)
    .map((line) => line.join('  '))
    .join('\n');
};

const renderLeases = (leases: readonly LeaseView[], nowMs: number): string => {
  const rows = leases.map(({ address, holder, nic, mac = '-', kind, sinceMs }) => [
    ...[address, holder, String(nic), mac, kind, renderAge(nowMs - sinceMs)],
  ]);
  return table([['ADDRESS', 'HOLDER', 'NIC', 'MAC', 'KIND', 'AGE'], ...rows])
    .map((row) => row.join('  ').trimEnd())
    .join('\n');
};

const required = (name: string | undefined, verb: string): string => {
  if (name === undefined) throw usage(`the name of a network after ${verb}, got nothing`, verb);
  return name;
};

type Verb = (call: Call, name: string | undefined) => Promise<void>;

const VERBS: Readonly<Record<string, Verb>> = {
  create: async (call, name) => {
    const document = await documentOf(call, name);
    const what = `create network ${(document as { name: string }).name}`;
    const made = await withProgress(call.client, what, true, (on) => call.client.createNetwork(document, on));
    if (call.json) printJson(made);
  },
  list: async (call, name) => {
    if (name !== undefined) throw usage(`nothing after list, got ${escapeControls(name)}`, 'list');
    const wanted = labelsOf(call);
    const all = (await call.client.networks()).filter(({ labels }) => hasLabels(labels, wanted));
    if (call.json) printJson(all);
    else print(renderList(all));
  },
  show: async (call, name) => {
    const network = await call.client.network(required(name, 'show'));
    if (call.json) printJson(network);
    else print(renderShow(network));
  },
  leases: async (call, name) => {
    const leases = await call.client.leases(required(name, 'leases'));
    if (call.json) printJson(leases);
    else print(renderLeases(leases, Date.now()));
  },
  edit: async (call, name) => {
    const own = required(name, 'edit');
    if (call.values.file === undefined) throw usage('-f FILE with edit, got none', 'edit');
    // Read first: whoever changes it while this document is on its way is not written over.
    const tag = await call.client.networkTag(own);
    const document = await documentOf(call, undefined);
    const edited = await withProgress(call.client, `edit network ${own}`, false, (on) =>
      call.client.editNetwork(own, document, on, tag),
    );
    if (call.json) printJson(edited);
  },
  attach: async (call, name) => {
    const { values } = call;
    const own = required(name, 'attach');
    const jail = asText(values.jail);
    if (jail === undefined) throw usage('--jail JAIL with attach, got none', 'attach');
    const addresses = some(values.address);
    const labels = values.label === undefined ? undefined : Object.fromEntries(asList(values.label).map(toLabel));
    const about = given({
      addresses,
      labels,
      mac: asText(values.mac),
      owner: asText(values.owner),
      gateway: values.gateway,
    });
    const attached = await withProgress(call.client, `attach jail ${jail} to network ${own}`, false, (on) =>
      call.client.attachJail(own, jail, about, on),
    );
    if (call.json) printJson(attached);
    else print(attached.addresses.join('\n'));
  },
  detach: async (call, name) => {
    const own = required(name, 'detach');
    const jail = asText(call.values.jail);
    if (jail === undefined) throw usage('--jail JAIL with detach, got none', 'detach');
    const outcome = await withProgress(call.client, `detach jail ${jail} from network ${own}`, false, (on) =>
      call.client.detachJail(own, jail, on),
    );
    if (call.json) printJson(outcome);
  },
  destroy: async (call, name) => {
    const own = required(name, 'destroy');
    const outcome = await withProgress(call.client, `destroy network ${own}`, false, (on) =>
      call.client.destroyNetwork(own, on),
    );
    if (call.json) printJson(outcome);
  },
};

const text = { type: 'string' } as const;
const multiple = { type: 'string', multiple: true } as const;

export const networkCommand: CliCommand = {
  usage: `brig network ${Object.values(USAGE).join(' | ')} [--json]`,
  summary: 'networks: what VMs are on, and whose addresses are whose',
  options: {
    file: { type: 'string', short: 'f' },
    ...{ kind: text, tag: text, trunk: text, vni: text, local: text, remote: text, bridge: text, out: text, mtu: text },
    ...{ group: text, isolation: text, subnet: multiple, uplink: multiple, label: multiple },
    ...{ jail: text, owner: text, mac: text, address: multiple, gateway: { type: 'boolean' } },
    persistent: { type: 'boolean' },
    'move-addresses': { type: 'boolean' },
  },
  operands: [1, 2],
  run: async (call) => {
    const [verb = '', name] = call.operands;
    const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!work) throw usage(`${Object.keys(VERBS).join(', ')}, got ${escapeControls(verb)}`);
    await work(call, name);
  },
};
