import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frameCost, ReceiveWindow, SendWindow } from '../../../src/mesh/flow-window.ts';
import { LINK_WINDOW_BYTES, MAX_FRAME_BYTES } from '../../../src/protocol/limits.ts';

const frameSize = fc.oneof(
  fc.integer({ min: 1, max: 2000 }),
  fc.integer({ min: 1, max: MAX_FRAME_BYTES }),
  fc.constant(MAX_FRAME_BYTES),
);

describe('the window of a link', () => {
  it('lets an honest sender always go on, and keeps it within what is allowed, whatever is handled when', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(frameSize, fc.nat(3)), { maxLength: 400 }), (frames) => {
        const sender = new SendWindow();
        const receiver = new ReceiveWindow();
        const waiting: number[] = [];
        const handleOne = () => {
          const total = receiver.handled(waiting.shift() ?? 0);
          if (total !== null) sender.hearHandled(total);
        };
        for (const [sizeBytes, handledBefore] of frames) {
          for (let count = 0; count < handledBefore && waiting.length > 0; count += 1) handleOne();
          while (!sender.isOpen && waiting.length > 0) handleOne();
          expect(sender.isOpen).toBe(true);
          sender.spend(sizeBytes);
          receiver.take(sizeBytes);
          waiting.push(sizeBytes);
          expect(receiver.waitingBytes).toBeLessThan(LINK_WINDOW_BYTES + frameCost(MAX_FRAME_BYTES));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('goes on after four GiB', () => {
    const sender = new SendWindow();
    const receiver = new ReceiveWindow();
    for (let sent = 0; sent < 2 ** 32 + 2 ** 30; sent += MAX_FRAME_BYTES) {
      expect(sender.isOpen).toBe(true);
      sender.spend(MAX_FRAME_BYTES);
      receiver.take(MAX_FRAME_BYTES);
      const total = receiver.handled(MAX_FRAME_BYTES);
      if (total !== null) sender.hearHandled(total);
    }
    expect(sender.outstandingBytes).toBe(0);
  });

  it('is closed by as much as it is wide', () => {
    const sender = new SendWindow();
    sender.spend(LINK_WINDOW_BYTES - frameCost(0) - 1);
    expect(sender.isOpen).toBe(true);
    sender.spend(1);
    expect(sender.isOpen).toBe(false);
  });

  it.each([
    ['more than was sent', frameCost(100) + 1],
    ['less than before', 2 ** 32 - 1],
  ])('refuses to hear of %s', (_what, total) => {
    const sender = new SendWindow();
    sender.spend(100);
    expect(() => sender.hearHandled(total)).toThrow(expect.objectContaining({ code: 'bad-frame' }));
  });
});
