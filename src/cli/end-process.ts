import { once } from 'node:events';

/** Ends this process once what it wrote is out: WebRTC and Dawn keep threads of their own. */
export async function endProcess(code: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await once(stream, 'drain').catch(() => undefined);
  }
  process.exit(code);
}
