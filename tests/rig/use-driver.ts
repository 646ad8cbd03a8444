import { SkeinError } from '../../src/protocol/errors.ts';
import { findRig } from './rig.ts';
import type { SoftwareDriver } from './rig.ts';

/**
 * Vitest setup file of the kernel projects: shows the Vulkan loader one driver only, before anything opens a GPU, so
 * that a test cannot run on another adapter than its project says.
 */
const driver = process.env['SKEIN_TEST_DRIVER'] as SoftwareDriver;
const manifest = findRig().vulkanDrivers[driver];
if (manifest === undefined) {
  throw new SkeinError(
    'no-adapter',
    `There is no ${driver} driver on this machine. Run npm test, which installs it.`,
  );
}
process.env['VK_ICD_FILENAMES'] = manifest;
process.env['VK_DRIVER_FILES'] = manifest;
