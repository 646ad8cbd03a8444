import { Command } from 'commander';
import type { MeshView } from '../mesh/mesh-connection.ts';
import { openNodeSession } from '../mesh/node-session.ts';
import type { LiveSession } from '../mesh/open-session.ts';
import { untilAborted } from '../model/abort.ts';
import { SkeinError } from '../protocol/errors.ts';
import { fingerprintOption, trustFingerprint } from './certificate-trust.ts';
import { endProcess } from './end-process.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { addModelCommand, removeModelCommand } from './models-admin.ts';
import { modelLines, modelsTable } from './models-table.ts';
import { optionalServerArgument } from './server-argument.ts';

/** A server says who holds what right after its welcome. */
const MESH_TIMEOUT_MS = 10_000;

interface ModelsOptions {
  readonly fingerprint?: string;
  readonly json: boolean;
}

export function modelsCommand(): Command {
  const command = new Command('models')
    .description('List the models that a mesh offers, and who holds their layers.')
    .addArgument(optionalServerArgument())
    .addOption(fingerprintOption())
    .option('--json', 'print one JSON object', false)
    .addHelpText(
      'after',
      `
ANSWERS says whether a model can answer now: every layer is served. PEERS PER LAYER counts those that serve it.

Examples:
  $ skein models
  $ skein models https://mesh.example --json`,
    )
    .action(runModels);
  // What stands behind the name of a subcommand is for it.
  command.enablePositionalOptions();
  command.addCommand(addModelCommand());
  command.addCommand(removeModelCommand());
  return command;
}

async function runModels(serverUrl: string, { fingerprint, json }: ModelsOptions): Promise<void> {
  const { signal, release } = abortOnInterrupt();
  const parts = await trustFingerprint(serverUrl, fingerprint, signal);
  const session = await openNodeSession(serverUrl, signal, parts);
  try {
    const lines = modelLines(session.models, await untilAborted(meshOf(session), signal));
    console.log(json ? JSON.stringify({ server: serverUrl, models: lines }) : modelsTable(lines));
  } finally {
    session.dispose();
    release();
  }
  await endProcess(0);
}

function meshOf({ signaling }: LiveSession): Promise<MeshView> {
  return new Promise((resolve, reject) => {
    const words = `The server did not say within ${MESH_TIMEOUT_MS / 1000} s who is on the mesh. Try again.`;
    const timer = setTimeout(() => reject(new SkeinError('timeout', words)), MESH_TIMEOUT_MS);
    signaling.on('mesh', ({ members, covered }) => {
      clearTimeout(timer);
      resolve({ members, covered });
    });
  });
}
