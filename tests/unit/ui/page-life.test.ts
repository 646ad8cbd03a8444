import { beforeEach, expect, it } from 'vitest';
import { followPageLife } from '../../../src/ui/connection/page-life.ts';

let done: string[];
let window: EventTarget;
let document: EventTarget;

beforeEach(() => {
  done = [];
  window = new EventTarget();
  document = new EventTarget();
  const note = (what: string) => () => void done.push(what);
  followPageLife(
    { dispose: note('close') },
    { leave: note('leave'), freeze: note('freeze'), thaw: note('thaw') },
    { window, document, reload: note('reload') },
  );
});

function shown(persisted: boolean): void {
  window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted }));
}

it('says goodbye to the server before the connections are closed', () => {
  window.dispatchEvent(new Event('pagehide'));
  expect(done).toEqual(['leave', 'close']);
});

it('begins anew when it comes back from the back-forward cache, and only then', () => {
  shown(false);
  expect(done).toEqual([]);
  shown(true);
  expect(done).toEqual(['reload']);
});

it('steps aside while it is frozen', () => {
  document.dispatchEvent(new Event('freeze'));
  document.dispatchEvent(new Event('resume'));
  expect(done).toEqual(['freeze', 'thaw']);
});
