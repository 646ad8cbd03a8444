import type { Tally } from './tally.ts';
import { AllocationSpy } from './allocation-spy.ts';
import { fuzzDecoder, newAsked } from './decode-fuzz.ts';
import { Dice } from './dice.ts';
import { FrameCorpus } from './frame-corpus.ts';
import { fuzzFraming } from './framing-fuzz.ts';
import { fuzzLinks } from './link-fuzz.ts';
import { fuzzPresence } from './presence-fuzz.ts';
import { fuzzResumeTokens } from './resume-fuzz.ts';
import { fuzzMessages } from './signaling-fuzz.ts';
import { fuzzStages, fuzzWire } from './stage-fuzz.ts';
import { describe } from './tally.ts';

/** Of all frames, those that go to live stages as well: they cost more each. */
const LIVE_SHARE = 0.2;
const FRAMING_SHARE = 0.2;
/** Frames per request whose way is damaged: a request is some hundred frames. */
const FRAMES_PER_DAMAGED_REQUEST = 500;

export interface FuzzOptions {
  readonly frames: number;
  readonly messages: number;
  readonly seed: string;
  readonly onProgress: (line: string) => void;
}

export interface FuzzResult {
  readonly tallies: readonly Tally[];
  readonly missingTypes: readonly string[];
  /** Bytes that the frame decoder asked for per byte of a frame, at most, beyond what small frames take. */
  readonly mostAskedPerByte: number;
  /** Errors that nobody caught. */
  readonly uncaught: readonly string[];
}

/** Everything that reads bytes or JSON from outside, fed with what nobody honest sends. Same seed, same input. */
export async function runFuzz({ frames, messages, seed, onProgress }: FuzzOptions): Promise<FuzzResult> {
  const uncaught: string[] = [];
  const note = (thrown: unknown) => uncaught.push(describe(thrown));
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
  const dice = new Dice(seed);
  const corpus = new FrameCorpus(dice.fork('corpus'));
  const spy = new AllocationSpy();
  const asked = newAsked();
  const tallies: Tally[] = [];
  const done = (...found: readonly Tally[]) => {
    for (const tally of found) {
      tallies.push(tally);
      onProgress(`${tally.target}: ${tally.tried} tried, ${tally.problemCount} problems`);
    }
  };
  try {
    spy.install();
    try {
      done(fuzzDecoder(corpus, frames, spy, asked));
      done(fuzzFraming(corpus, Math.ceil(frames * FRAMING_SHARE), spy, dice.fork('framing')));
    } finally {
      spy.uninstall();
    }
    done(await fuzzStages(corpus, Math.ceil(frames * LIVE_SHARE), dice.fork('stages')));
    done(await fuzzWire(Math.ceil(frames / FRAMES_PER_DAMAGED_REQUEST), dice.fork('wire')));
    done(...fuzzMessages(messages, dice.fork('messages')));
    done(fuzzPresence(messages, dice.fork('presence')));
    done(fuzzResumeTokens(messages, dice.fork('tokens')));
    done(await fuzzLinks(corpus, messages, dice.fork('links')));
  } finally {
    process.off('unhandledRejection', note);
    process.off('uncaughtException', note);
  }
  return { tallies, missingTypes: corpus.missingTypes, mostAskedPerByte: asked.mostPerByte, uncaught };
}
