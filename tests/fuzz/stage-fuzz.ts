import { decodeFrame, encodeFrame } from '../../src/protocol/frame-codec.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { FrameTransport } from '../../src/protocol/transport.ts';
import { expectedTokens, HIDDEN_SIZE } from '../unit/mesh/adding-machine.ts';
import { chainOf, LocalMesh, peerId, requestId, settled } from '../unit/mesh/local-mesh.ts';
import { mutateBytes } from './byte-mutations.ts';
import type { Dice } from './dice.ts';
import { specimen } from './frame-corpus.ts';
import type { FrameCorpus } from './frame-corpus.ts';
import { describe, Tally } from './tally.ts';

const STAGES = 3;
const MAX_REQUESTS = 64;
/** One peer that nobody asked anything of, and one that asks for answers of its own. */
const STRANGER = peerId(0xe1);
const CUSTOMER = peerId(0xe2);
const HOSTILE_REQUESTS = 24;
const HONEST_AT_ONCE = 2;
const MUTATED_SHARE = 0.7;
/** Hostile frames between two looks at whether an honest request hangs. */
const FRAMES_UNTIL_HUNG = 20_000;
/** Longer than anything waits for anything. */
const LONG_MS = 600_000;
const STEP_MS = 1_000;

/** What an honest request wanted and got. */
interface Answer {
  readonly wanted: readonly number[];
  readonly got: Promise<readonly number[]>;
}

/**
 * Mutated frames of strangers and of a customer, aimed at the requests that are open, while honest requests run over the same
 * stages: every honest answer is right, and nothing is left when the hostile are gone.
 */
export async function fuzzStages(corpus: FrameCorpus, frames: number, dice: Dice): Promise<Tally> {
  const tally = new Tally('stages');
  const mesh = new LocalMesh(STAGES, { chunkRows: 4, maxRequests: MAX_REQUESTS });
  const hostile = [STRANGER, CUSTOMER].map((peer) => mesh.hub.transport(peer));
  const targets = [...mesh.stages.map(({ hop }) => hop.peer), mesh.requester];
  let sent = 0;
  let nextRequest = 1000;
  while (sent < frames) {
    const honest = Array.from({ length: HONEST_AT_ONCE }, () => requestId(nextRequest++));
    const answers = honest.map((id) => ask(mesh, id, dice));
    const all = watched(Promise.allSettled(answers.map(({ got }) => got)));
    for (let burst = 0; (!all.isDone && burst < FRAMES_UNTIL_HUNG) || burst < 100; burst++) {
      const from = dice.oneOf(hostile);
      const bytes = aimedFrame(corpus, mesh, from.self, honest, dice);
      sent += 1;
      from.send(dice.oneOf(targets), bytes).catch((thrown: unknown) => tally.problem(describe(thrown)));
      // Honest work goes on between any two frames.
      if (dice.chance(0.3)) await Promise.resolve();
      if (burst % 100 === 99) {
        await settled();
        mesh.clock.advance(STEP_MS / 10);
      }
    }
    if (!all.isDone) await passTime(mesh, LONG_MS);
    await check(answers, tally);
    for (const { served } of mesh.stages) {
      if (served.activeRequests > MAX_REQUESTS)
        tally.problem(`${served.activeRequests} requests are open at a stage`);
    }
  }
  for (const { self } of hostile) mesh.hub.remove(self);
  await passTime(mesh, LONG_MS);
  if (mesh.openRequests > 0)
    tally.problem(`${mesh.openRequests} requests stay open when the hostile are gone`);
  for (const { served } of mesh.stages) {
    const { rejected, dropped } = served.counters;
    tally.rejected.set('rejected', (tally.rejected.get('rejected') ?? 0) + rejected);
    tally.rejected.set('dropped', (tally.rejected.get('dropped') ?? 0) + dropped);
  }
  tally.accepted = sent - tally.rejections;
  return tally;
}

/** Frames between honest peers that are damaged on the way: every request ends, with tokens or for a reason with a name. */
export async function fuzzWire(requests: number, dice: Dice): Promise<Tally> {
  const tally = new Tally('damaged wire');
  const damage = new Damage(dice);
  const mesh = new LocalMesh(STAGES, { chunkRows: 4, wrap: (transport) => damage.around(transport) });
  for (let count = 0; count < requests; count++) {
    const answer = ask(mesh, requestId(count + 1), dice);
    const ending = watched(answer.got);
    for (let waited = 0; !ending.isDone && waited < LONG_MS; waited += STEP_MS) {
      await settled();
      mesh.clock.advance(STEP_MS);
    }
    if (!ending.isDone) tally.problem(`request ${count + 1} did not end`);
    await answer.got.then(
      () => tally.accept(),
      (thrown: unknown) => {
        const code = thrown instanceof SkeinError ? thrown.code : 'untyped';
        tally.rejected.set(code, (tally.rejected.get(code) ?? 0) + 1);
        if (code === 'untyped') tally.problem(`a request ended with ${describe(thrown)}`);
      },
    );
  }
  await passTime(mesh, LONG_MS);
  if (mesh.openRequests > 0) tally.problem(`${mesh.openRequests} requests stay open`);
  return tally;
}

/** Damages, doubles and repeats some of what is sent. */
class Damage {
  #earlier: Uint8Array<ArrayBuffer>[] = [];

  constructor(private readonly dice: Dice) {}

  around(transport: FrameTransport): FrameTransport {
    return new Proxy(transport, {
      get: (target, name) => {
        if (name === 'send')
          return (to: PeerId, frame: Uint8Array<ArrayBuffer>) => this.#send(target, to, frame);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  async #send(transport: FrameTransport, to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const { dice } = this;
    const earlier = this.#earlier.length > 0 ? dice.oneOf(this.#earlier) : frame;
    this.#earlier = [...this.#earlier.slice(-20), frame.slice()];
    if (dice.chance(0.01)) await transport.send(to, earlier);
    if (dice.chance(0.01)) await transport.send(to, frame);
    await transport.send(to, dice.chance(0.02) ? mutateBytes(frame, earlier, dice) : frame);
  }
}

function ask(mesh: LocalMesh, id: RequestId, dice: Dice): Answer {
  const prompt = Array.from({ length: dice.whole(1, 40) }, () => dice.below(1000));
  const maxTokens = dice.whole(1, 20);
  const blockHashes = dice.chance(0.5) ? { blockHashes: chainOf(prompt) } : {};
  const got = mesh.generate(prompt, maxTokens, { requestId: id, ...blockHashes });
  got.catch(() => undefined);
  return { wanted: expectedTokens(prompt, mesh.layerCount, maxTokens), got };
}

/** Whether a promise is done already, one way or the other. */
function watched(promise: Promise<unknown>): { readonly isDone: boolean } {
  const state = { isDone: false };
  const end = () => (state.isDone = true);
  promise.then(end, end);
  return state;
}

async function check(answers: readonly Answer[], tally: Tally): Promise<void> {
  for (const { wanted, got } of answers) {
    const hung = Symbol('hung');
    const tokens = await Promise.race([
      got.catch((thrown: unknown) => describe(thrown)),
      settled().then(() => hung),
    ]);
    if (tokens === hung) tally.problem('an honest request hangs');
    else if (!Array.isArray(tokens)) tally.problem(`an honest request ended with ${String(tokens)}`);
    else if (tokens.join() !== wanted.join())
      tally.problem(`an honest request got ${tokens.join()}, not ${wanted.join()}`);
  }
}

async function passTime(mesh: LocalMesh, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10 * STEP_MS) {
    mesh.clock.advance(10 * STEP_MS);
    await settled();
  }
}

/** A frame about requests that are open, mostly with something wrong in it. */
function aimedFrame(
  corpus: FrameCorpus,
  mesh: LocalMesh,
  from: PeerId,
  honest: readonly RequestId[],
  dice: Dice,
): Uint8Array<ArrayBuffer> {
  const { bytes } = corpus.sound();
  let aimed = bytes;
  try {
    aimed = encodeFrame(aim(decodeFrame(bytes), mesh, from, honest, dice), 'f32');
  } catch (thrown) {
    // Some combinations are refused by the encoder of whoever sends them; those are sent as they were.
    if (!(thrown instanceof SkeinError)) throw thrown;
  }
  return dice.chance(MUTATED_SHARE) ? corpus.mutated(specimen(aimed)) : aimed;
}

function aim(frame: Frame, mesh: LocalMesh, from: PeerId, honest: readonly RequestId[], dice: Dice): Frame {
  const known = [...honest, ...Array.from({ length: HOSTILE_REQUESTS }, (_, index) => requestId(index + 1))];
  const about = <Part extends { requestId: RequestId; epoch: number }>(
    part: Part,
    index = dice.below(64),
  ): Part => ({
    ...part,
    requestId: known[index % known.length] ?? part.requestId,
    epoch: dice.below(3),
  });
  if (frame.type === 'open') {
    const requester = dice.chance(0.8) ? from : mesh.requester;
    const request = mesh.request(dice.whole(1, 40), dice.whole(1, 20), {
      requestId: dice.oneOf(known),
      requester,
    });
    const { blockHashes } = frame.request;
    return {
      ...frame,
      request: { ...request, blockHashes, route: { ...request.route, epoch: dice.below(3) } },
    };
  }
  if (frame.type === 'tokens') {
    const start = dice.below(known.length);
    const sequences = frame.sequences.map((part, index) => ({
      ...about(part, start + index),
      position: dice.below(48),
    }));
    return { ...frame, sequences };
  }
  if (frame.type === 'activations') {
    const start = dice.below(known.length);
    const sequences = frame.sequences.map((part, index) => {
      const values = Float32Array.from({ length: part.rows * HIDDEN_SIZE }, () => dice.below(1000));
      return { ...about(part, start + index), position: dice.below(48), values };
    });
    return { ...frame, hiddenSize: HIDDEN_SIZE, sequences };
  }
  if (frame.type === 'sampled') {
    const start = dice.below(known.length);
    const sequences = frame.sequences.map((part, index) => ({
      ...about(part, start + index),
      position: dice.below(48),
    }));
    return { ...frame, sequences };
  }
  return about(frame);
}
