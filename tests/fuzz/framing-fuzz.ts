import { FrameChannel } from '../../src/mesh/frame-channel.ts';
import {
  checkNumber,
  decodeControl,
  encodeControl,
  FrameAssembly,
  numberMessage,
  splitFrame,
} from '../../src/mesh/framing.ts';
import type { ControlMessage } from '../../src/mesh/framing.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { FRAME_ASSEMBLY_TIMEOUT_MS, MAX_MESSAGE_BYTES } from '../../src/protocol/limits.ts';
import { FakePipe } from '../unit/mesh/fake-pipe.ts';
import { ManualClock } from '../unit/mesh/manual-clock.ts';
import type { AllocationSpy } from './allocation-spy.ts';
import { mutateBytes } from './byte-mutations.ts';
import type { Dice } from './dice.ts';
import type { FrameCorpus } from './frame-corpus.ts';
import { describe, hexOf, Tally } from './tally.ts';

const MUTATED_SHARE = 0.3;
const ASKED_AT_LEAST = 4096;
/** What one stream of messages consists of, before another begins. */
const FRAMES_PER_STREAM = 3;

/** Messages of a link that are damaged, lost, doubled or out of order, at what puts frames together and at a channel around it. */
export function fuzzFraming(corpus: FrameCorpus, messages: number, spy: AllocationSpy, dice: Dice): Tally {
  const tally = new Tally('framing');
  while (tally.tried < messages) {
    const stream = messageStream(corpus, dice);
    pushAll(stream, spy, tally);
    throughChannel(stream, tally);
  }
  return tally;
}

function messageStream(corpus: FrameCorpus, dice: Dice): Uint8Array<ArrayBuffer>[] {
  const frames = Array.from({ length: FRAMES_PER_STREAM }, () => corpus.sound().bytes);
  // Frames of several messages are rare among those that peers send, and all that this is about.
  if (dice.chance(0.3))
    frames.push(new Uint8Array(dice.oneOf([1, 2, 3]) * MAX_MESSAGE_BYTES + dice.below(3)));
  const messages = frames.flatMap((frame) => [...splitFrame(frame)]);
  messages.splice(dice.below(messages.length), 0, encodeControl(anyControl(dice)));
  messages.forEach((message, index) => numberMessage(message, index));
  return messages.flatMap((message, index) => {
    if (!dice.chance(MUTATED_SHARE)) return [message];
    return dice.oneOf([
      () => [mutateBytes(message, messages[index - 1] ?? message, dice)],
      () => [mutateBytes(message, message, dice)],
      () => [],
      () => [message, message],
      () => [messages[index + 1] ?? message, message],
    ])();
  });
}

function anyControl(dice: Dice): ControlMessage {
  return dice.oneOf<ControlMessage>([
    { kind: 'ping', nonce: dice.below(2 ** 32) },
    { kind: 'pong', nonce: 1 },
    { kind: 'handled', total: dice.oneOf([0, 1, 2 ** 31, 2 ** 32 - 1]) },
    { kind: 'bye' },
  ]);
}

/** As a channel does: numbers are checked, then controls; the rest goes into an assembly, which is of no use after it has thrown. */
function pushAll(stream: readonly Uint8Array[], spy: AllocationSpy, tally: Tally): void {
  let assembly = new FrameAssembly();
  let arrived = 0;
  let count = 0;
  for (const message of stream) {
    arrived += message.length;
    const asked = spy.during(() => {
      try {
        const isNew = checkNumber(message, count);
        if (isNew) count += 1;
        if (isNew && decodeControl(message) === null) assembly.push(message);
        tally.accept();
      } catch (thrown) {
        tally.reject(thrown, 'bad-frame', () => hexOf(message));
        assembly = new FrameAssembly();
        count = 0;
      }
    });
    if (asked > ASKED_AT_LEAST + arrived) {
      tally.problem(`${asked} bytes were asked for when ${arrived} had come`, () => hexOf(message));
    }
  }
}

/** Nothing is thrown at the pipe, the channel ends at most once and for a reason with a name, and no timer stays behind. */
function throughChannel(stream: readonly Uint8Array<ArrayBuffer>[], tally: Tally): void {
  const pipe = new FakePipe();
  const clock = new ManualClock();
  const broken: SkeinError[] = [];
  const channel = new FrameChannel({
    pipe,
    clock,
    newNonce: () => 1,
    onFrame: () => null,
    onBroken: (error) => broken.push(error),
  });
  for (const message of stream) {
    try {
      pipe.deliverRaw(message);
    } catch (thrown) {
      tally.problem(`a channel threw ${describe(thrown)}`, () => hexOf(message));
    }
  }
  clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS);
  if (broken.length > 1) tally.problem(`a channel ended ${broken.length} times`);
  if (broken.length === 1 && !pipe.isClosed) tally.problem('a channel that broke did not close its pipe');
  if (broken.length === 0) channel.finish(brokenByTest());
  if (clock.pendingTimers > 0) tally.problem(`${clock.pendingTimers} timers of a channel outlive it`);
}

function brokenByTest(): SkeinError {
  return new SkeinError('aborted', 'The stream is over.');
}
