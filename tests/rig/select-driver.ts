import { SkeinError } from '../../src/protocol/errors.ts';
import { findRig } from './rig.ts';
import type { SoftwareDriver } from './rig.ts';

/**
 * Shows the Vulkan loader one driver only, before anything opens a GPU, so that nothing can run on another adapter than it says.
 * @throws SkeinError `no-adapter` when the machine lacks the driver.
 */
export function selectDriver(driver: SoftwareDriver): void {
  const manifest = findRig().vulkanDrivers[driver];
  if (manifest === undefined) {
    throw new SkeinError(
      'no-adapter',
      `There is no ${driver} driver on this machine. Run npm test, which installs it.`,
    );
  }
  process.env['VK_ICD_FILENAMES'] = manifest;
  process.env['VK_DRIVER_FILES'] = manifest;
}
