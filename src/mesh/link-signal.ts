import * as v from 'valibot';
import { MAX_SDP_CHARACTERS } from '../protocol/limits.ts';

const MAX_CANDIDATE_CHARACTERS = 2000;
const MAX_MID_CHARACTERS = 100;
const MAX_MEDIA_LINES = 16;

const text = (maxLength: number) => v.pipe(v.string(), v.maxLength(maxLength));

/** What WebRTC has to say to the other end, and nothing else that simple-peer would listen to. */
export const rtcSignalSchema = v.variant('type', [
  v.object({ type: v.picklist(['offer', 'answer']), sdp: text(MAX_SDP_CHARACTERS) }),
  v.object({
    type: v.literal('candidate'),
    candidate: v.object({
      candidate: text(MAX_CANDIDATE_CHARACTERS),
      sdpMLineIndex: v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_MEDIA_LINES))),
      sdpMid: v.nullish(text(MAX_MID_CHARACTERS)),
    }),
  }),
]);
export type RtcSignal = v.InferOutput<typeof rtcSignalSchema>;

/** Names one try to connect two peers; chosen by whoever wants the link. 16 hex digits. */
const attemptSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/));

/** What peers say through the server to get a link. */
export const linkSignalSchema = v.variant('kind', [
  /** The peer with the larger id asks the other, who alone makes offers, to dial. */
  v.object({ kind: v.literal('ask'), attempt: attemptSchema }),
  v.object({ kind: v.literal('rtc'), attempt: attemptSchema, signal: rtcSignalSchema }),
  /** This peer has all the links it wants. */
  v.object({ kind: v.literal('refuse'), attempt: attemptSchema }),
]);
export type LinkSignal = v.InferOutput<typeof linkSignalSchema>;
