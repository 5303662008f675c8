import { namesIn, referredName, type SecretRef } from '../base/secret.ts';
import { seedText, type SeedData } from './cloud-init.ts';
import type { VmSpec } from './vm.ts';

type Owned = Pick<VmSpec, 'owner'>;

const refer = ({ owner = '' }: Owned, name: string): SecretRef => ({ owner, name });

/** Secrets that a file of the seed holds. */
export const dataSecrets = (spec: Owned, data: SeedData): SecretRef[] =>
  typeof data === 'string' ? namesIn(seedText(data)).map((name) => refer(spec, name)) : [];

/** Secrets that the seed holds, each once. */
export const seedSecrets = (spec: Pick<VmSpec, 'owner' | 'cloudInit'>): SecretRef[] => {
  const { userData = '', vendorData = '' } = spec.cloudInit ?? {};
  const all = [userData, vendorData].flatMap((data) => dataSecrets(spec, data));
  return [...new Map(all.map((ref) => [ref.name, ref])).values()];
};

/** The password of the screen. */
export const screenSecret = (spec: Pick<VmSpec, 'owner' | 'devices'>): SecretRef | undefined => {
  const name = referredName(spec.devices.fbuf?.password ?? '');
  return name === undefined ? undefined : { ...refer(spec, name), use: 'screen' };
};

/** All secrets that a start needs. */
export const secretsOf = (spec: VmSpec): SecretRef[] => {
  const screen = screenSecret(spec);
  return [...seedSecrets(spec), ...(screen ? [screen] : [])];
};
