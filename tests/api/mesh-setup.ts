import type { TestProject } from 'vitest/node';
import { findRig } from '../rig/rig.ts';
import { ApiMesh } from './api-mesh.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Of the server that the mesh of three belongs to. */
    readonly serverUrl: string;
  }
}

const STAGES = 3;

let mesh: ApiMesh | null = null;

/** Vitest's global setup of the project: one mesh for all files. */
export async function setup(project: TestProject): Promise<void> {
  mesh = await ApiMesh.open({
    stages: STAGES,
    vulkanDriver: findRig().vulkanDrivers.lavapipe ?? null,
    onWords: (line) => console.error(line),
  });
  project.provide('serverUrl', mesh.server.url);
}

export async function teardown(): Promise<void> {
  await mesh?.dispose();
}
