import type { SoftwareDriver } from './rig.ts';
import { selectDriver } from './select-driver.ts';

/** Vitest setup file of the kernel projects: a test cannot run on another adapter than its project says. */
selectDriver(process.env['SKEIN_TEST_DRIVER'] as SoftwareDriver);
