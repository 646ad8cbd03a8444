import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export const BOOTSTRAP = resolve(import.meta.dirname, '../../src/cli/bootstrap.mjs');

export interface ChildOptions {
  /** Where weights, tunings and the server's secret are kept from one start to the next. */
  readonly stateFolder: string;
  /** Manifest of the Vulkan driver to use, where it is not the machine's own. */
  readonly vulkanDriver: string | null;
}

export function childEnvironment({ stateFolder, vulkanDriver }: ChildOptions): NodeJS.ProcessEnv {
  return {
    ...process.env,
    // Under npm a command ends with its parent; so does what the harness starts, however the harness ends.
    npm_lifecycle_event: process.env['npm_lifecycle_event'] ?? 'test',
    XDG_CACHE_HOME: stateFolder,
    XDG_STATE_HOME: stateFolder,
    // Compiled kernels are the driver's own business, and take it half a minute where it has to make them anew.
    MESA_SHADER_CACHE_DIR: process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
    ...(vulkanDriver !== null && { VK_ICD_FILENAMES: vulkanDriver, VK_DRIVER_FILES: vulkanDriver }),
  };
}
