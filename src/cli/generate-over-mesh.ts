import type { Command } from 'commander';
import { generate } from '../client/generate.ts';
import type { GenerateRequest } from '../client/generate.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import { maxSequenceTokens } from '../protocol/slice-bytes.ts';
import { streamAnswer } from './answer-stream.ts';
import type { StreamedAnswer } from './answer-stream.ts';
import { trustFingerprint } from './certificate-trust.ts';
import { openMeshClient } from './mesh-client.ts';

/** Options of `generate` about this machine's GPU: what a mesh computes with, its operator says. */
export const LOCAL_OPTIONS = [
  'cuts',
  'quantize',
  'precision',
  'cache',
  'activations',
  'wire',
  'prefillChunk',
  'adapter',
] as const;

/** @throws SkeinError `bad-argument` naming an option that says nothing to a mesh. */
export function checkMeshOptions(command: Command): void {
  const given = LOCAL_OPTIONS.find((name) => command.getOptionValueSource(name) === 'cli');
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const words = `--${flag} is about this machine's GPU, and with --server a mesh answers: its operator says that. Leave one of them out.`;
  throw new SkeinError('bad-argument', words, { data: { option: flag } });
}

export interface MeshQuestion {
  readonly serverUrl: string;
  readonly fingerprint?: string;
  /** Null: the first that the server offers. */
  readonly model: string | null;
  /** @param model its name on the server. */
  readonly request: (model: ModelId) => GenerateRequest;
  /** Of the text; null for none. */
  readonly output: Pick<NodeJS.WritableStream, 'write'> | null;
}

/** Answers as a requester of a mesh, like a page: the prompt goes to the machines of the route and not to the server. */
export async function answerOverMesh(question: MeshQuestion, signal: AbortSignal): Promise<StreamedAnswer> {
  const { serverUrl, fingerprint, model, request, output } = question;
  const parts = await trustFingerprint(serverUrl, fingerprint, signal);
  const client = await openMeshClient(serverUrl, signal, parts);
  try {
    const [first] = client.models.list();
    const { card, deps } = await client.models.open(model ?? first?.id ?? 'any', signal);
    const asked = { ...request(card.id), contextTokens: maxSequenceTokens(card) };
    return await streamAnswer(generate(asked, deps, signal), output);
  } finally {
    client.dispose();
  }
}
