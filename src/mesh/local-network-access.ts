import { waitFor } from './wait-for.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';

/**
 * Chrome asks before a page may reach other machines of its network, and at first blocks links to them. The names of the
 * permission: Chrome 138 had one, which since 146 stands for the other two, https://wicg.github.io/local-network-access/.
 */
const PERMISSION_NAMES = ['local-network', 'loopback-network', 'local-network-access'] as const;
const QUERY_TIMEOUT_MS = 1_000;

/** The part of `navigator.permissions` that is used. The names are newer than the types of TypeScript. */
export interface PermissionStates {
  query(descriptor: { readonly name: string }): Promise<{ readonly state: string }>;
}

/** Those of this page. Missing in pages without TLS. */
export function pagePermissions(): PermissionStates | undefined {
  return navigator.permissions;
}

/** In `data.blockedBy` of an error. */
export const LOCAL_NETWORK_ACCESS = 'local-network-access';

/**
 * WebRTC does not say why a peer cannot be reached. Where the person, or a policy, forbade this page the local network, that is
 * why it cannot reach peers in it.
 * @param error of a dial. @returns it, or one with the same code and data that says what happened and how to allow it.
 */
export async function explainDialError(
  error: SkeinError,
  permissions: PermissionStates | undefined,
  clock: Clock,
): Promise<SkeinError> {
  if (!permissions || (error.code !== 'timeout' && error.code !== 'peer-lost')) return error;
  const states = await Promise.all(PERMISSION_NAMES.map((name) => stateOf(permissions, name, clock)));
  if (!states.includes('denied')) return error;
  return new SkeinError(
    error.code,
    `${error.message} The browser does not let this page reach other machines of the local network. ` +
      'Allow it in the site settings, behind the icon left of the address, and reload the page.',
    { data: { ...error.data, blockedBy: LOCAL_NETWORK_ACCESS }, cause: error },
  );
}

/** @returns null where the browser does not know the permission, which it throws for, or does not answer. */
async function stateOf(permissions: PermissionStates, name: string, clock: Clock): Promise<string | null> {
  try {
    return await waitFor<string>(
      { clock, timeoutMs: QUERY_TIMEOUT_MS, what: 'The browser did not say what this page may' },
      (resolve, reject) => {
        permissions.query({ name }).then(
          ({ state }) => resolve(state),
          (thrown: unknown) => reject(SkeinError.from(thrown)),
        );
      },
    );
  } catch {
    return null;
  }
}
