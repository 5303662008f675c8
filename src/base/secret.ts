import { BrigError } from './errors.ts';

/** What a secret may be used for beside the bytes that it is: a screen's password has a form of its own. */
export type SecretUse = 'screen';

/** A secret by name. What is in it comes only when an effect is performed. */
export interface SecretRef {
  /** Whose it is; empty: the node's own. */
  readonly owner: string;
  readonly name: string;
  readonly use?: SecretUse;
}

/** A secret's bytes, for whoever wipes them afterwards. */
export interface Unsealed {
  readonly value: Uint8Array;
  /** Another one whenever it was set again; tells nothing of the value. Shape: [0-9a-z]+ */
  readonly version: string;
}

/** Errors: secret.unknown, secret.locked, acl.*, store.failed; none of them holds a value. */
export type Reveal = (ref: SecretRef) => Promise<Unsealed>;

const NAME = '[a-z0-9][a-z0-9._-]{0,62}';
export const SECRET_NAME = new RegExp(`^${NAME}$`);
export const SECRET_REF = new RegExp(`^secret:(${NAME})$`);
const PLACE = new RegExp(`\\{\\{secret:(${NAME})(#?)\\}\\}`, 'g');

/** The name in `secret:NAME`. */
export const referredName = (text: string): string | undefined => SECRET_REF.exec(text)?.[1];

export const renderRef = ({ owner, name }: SecretRef): string =>
  owner === '' ? `secret:${name}` : `secret:${name} of ${owner}`;

/** Where a value goes. */
export const placeOf = (name: string): string => `{{secret:${name}}}`;
/** Where its version goes. */
export const versionPlaceOf = (name: string): string => `{{secret:${name}#}}`;

/** Names of the values that a text has places for, each once. */
export const namesIn = (text: string): string[] => [
  ...new Set([...text.matchAll(PLACE)].flatMap(([, name = '', mark]) => (mark === '' ? [name] : []))),
];

/** Whether every `{{secret:` of a text is a place for a value. */
export const hasWholePlaces = (text: string): boolean => {
  const marks = text.split('{{secret:').length - 1;
  return marks === [...text.matchAll(PLACE)].filter(([, , mark]) => mark === '').length;
};

/** The text with the values in their places; what a value says is not looked at again. Others' places stay as they are. */
export const fillPlaces = (text: string, values: ReadonlyMap<string, Unsealed>): Buffer => {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const match of text.matchAll(PLACE)) {
    const [whole, name = '', mark] = match;
    const found = values.get(name);
    if (!found) continue;
    parts.push(Buffer.from(text.slice(at, match.index)), mark === '' ? found.value : Buffer.from(found.version));
    at = match.index + whole.length;
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(at))]);
};

/** DES takes no more. Source: RFC 6143 7.2.2 */
const SCREEN_BYTES = 8;

/** Neither a line end nor `%` in bhyve_config(5). Errors: vm.blocked, without the value. */
export const checkUse = (ref: SecretRef, value: Uint8Array): void => {
  if (ref.use === undefined) return;
  const wanted = `a password of 1 to ${SCREEN_BYTES} printable ASCII characters other than blank and %`;
  const got =
    value.length > SCREEN_BYTES
      ? `more than ${SCREEN_BYTES}, and VNC would heed no more`
      : /^[\x21-\x24\x26-\x7e]+$/.test(Buffer.from(value).toString('latin1'))
        ? undefined
        : 'other characters';
  if (got === undefined) return;
  throw new BrigError('vm.blocked', `use ${renderRef(ref)} for VNC: expected ${wanted}, got ${got}`, {
    retry: 'operator',
    hint: `brig secret set ${ref.name}${ref.owner === '' ? '' : ` --owner ${ref.owner}`}`,
  });
};
