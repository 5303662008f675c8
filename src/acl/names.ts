import { BrigError } from '../base/errors.ts';

const USER = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;
/** A name for a key: safe in a path, a rule and a line of a log. */
export const KEY_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

const PRINCIPALS: Readonly<Record<string, RegExp>> = { user: USER, group: USER, key: KEY_NAME };

const quote = (text: string): string => JSON.stringify(text.slice(0, 60));

/** `user:alice`, `group:ops`, `key:laptop`; a name alone is a user's. Errors: acl.invalid. */
export const parsePrincipal = (text: string): string => {
  const [kind, name] = text.includes(':')
    ? [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)]
    : ['user', text];
  const pattern = Object.hasOwn(PRINCIPALS, kind) ? PRINCIPALS[kind] : undefined;
  if (!pattern?.test(name) || text === 'root' || text === 'user:root')
    throw new BrigError(
      'acl.invalid',
      `read principal: expected user:NAME, group:NAME or key:NAME${text.endsWith('root') ? ' other than root, whom no rule limits' : ''}, got ${quote(text)}`,
    );
  return `${kind}:${name}`;
};

const NAMED: Readonly<Record<string, RegExp>> = {
  vm: /^(\*|[a-z0-9][a-z0-9-]{0,30})$/,
  network: /^(\*|[a-z0-9][a-z0-9-]{0,30})$/,
  template: /^(\*|[a-z][a-z0-9-]{0,30})$/,
  image: /^(\*|[a-z0-9][a-z0-9._-]{0,62}(:[A-Za-z0-9][A-Za-z0-9._+~-]{0,62})?)$/,
  tag: /^[a-z0-9][a-z0-9._/-]{0,62}(=[^\u0000-\u001f\u007f]{0,100})?$/,
};

/** `vm:web`, `vm:*`, `tag:KEY[=VALUE]`, `network:lan`, `image:debian[:13]`, `template:debian`, `node`; a name alone is a VM's. */
export const parseObject = (text: string): string => {
  if (text === 'node') return text;
  const object = text.includes(':') ? text : `vm:${text}`;
  const kind = object.slice(0, object.indexOf(':'));
  const pattern = Object.hasOwn(NAMED, kind) ? NAMED[kind] : undefined;
  if (pattern?.test(object.slice(kind.length + 1))) return object;
  throw new BrigError(
    'acl.invalid',
    `read object: expected vm:NAME, tag:KEY[=VALUE], network:NAME, image:NAME, template:NAME or node, got ${quote(text)}`,
  );
};
