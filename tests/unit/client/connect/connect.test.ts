import { describe, expect, it } from 'vitest';
import { connectWith } from '../../../../src/client/connect/connect.ts';
import type { Progress } from '../../../../src/client/connect/progress.ts';
import type { LiveSession } from '../../../../src/mesh/open-session.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';
import { deferred, FakeSession, settled, TINY } from '../../contributor/fakes.ts';

class FakeLiveSession extends FakeSession {
  override readonly models = [TINY, { ...TINY, id: 'leaving' as ModelId, isDraining: true }];
  readonly closing = deferred<SkeinError>();
  readonly closed = this.closing.promise;
  isDisposed = false;

  retryNow(): void {
    throw new Error('nobody asked for that');
  }

  dispose(): void {
    this.isDisposed = true;
  }

  /** Cast: a client takes no more of a session that asks nothing. */
  get live(): LiveSession {
    return this as unknown as LiveSession;
  }
}

const URL_TEXT = 'mesh.example:3000';
const GONE = new SkeinError('server-lost', 'nobody listens there');

describe('connecting', () => {
  it('gives a client that lists models, and ends with it', async () => {
    const session = new FakeLiveSession('a');
    const told: Progress[] = [];
    const urls: string[] = [];
    const skein = await connectWith(
      (url) => {
        urls.push(url);
        return Promise.resolve(session.live);
      },
      URL_TEXT,
      { onProgress: (progress) => told.push(progress) },
    );
    expect(urls).toEqual(['http://mesh.example:3000/']);
    expect(await skein.models.list()).toMatchObject({ data: [{ id: TINY.id, object: 'model' }] });
    session.deliver({ type: 'mesh', members: [], covered: [TINY.id] });
    expect(told).toEqual([{ type: 'connecting' }, { type: 'connected', models: [TINY.id] }]);
    await skein.close();
    await skein.close();
    expect(session.isDisposed).toBe(true);
    await expect(
      skein.chat.completions.create({ model: TINY.id, messages: [{ role: 'user', content: 'Hello' }] }),
    ).rejects.toMatchObject({ code: 'aborted' });
  });

  it('fails where no server answers, and leaves nothing behind', async () => {
    let attempts = 0;
    let last: AbortSignal | null = null;
    const connecting = connectWith((_url, signal) => {
      attempts += 1;
      last = signal;
      return Promise.reject(GONE);
    }, URL_TEXT);
    await expect(connecting).rejects.toBe(GONE);
    await settled();
    expect(attempts).toBe(1);
    expect(last).toMatchObject({ aborted: true });
  });

  it('stops when it is told to, and closes a session that comes too late', async () => {
    const late = deferred<LiveSession>();
    const session = new FakeLiveSession('b');
    const abort = new AbortController();
    const connecting = connectWith(() => late.promise, URL_TEXT, { signal: abort.signal });
    abort.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'aborted' });
    late.resolve(session.live);
    await settled();
    expect(session.isDisposed).toBe(true);
    await expect(
      connectWith(() => late.promise, URL_TEXT, { signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: 'aborted' });
  });

  it('refuses what is no address of a server', async () => {
    await expect(connectWith(() => Promise.reject(GONE), 'ftp://mesh.example')).rejects.toMatchObject({
      code: 'bad-argument',
    });
  });

  it('tells when the server is away and back, and of a session that is over', async () => {
    const session = new FakeLiveSession('c');
    const told: string[] = [];
    const skein = await connectWith(() => Promise.resolve(session.live), URL_TEXT);
    const stop = skein.on('progress', (progress) => told.push(progress.type));
    session.deliver({ type: 'away', error: GONE, retryInMs: 500 });
    session.deliver({ type: 'mesh', members: [], covered: [] });
    session.closing.resolve(GONE);
    await settled();
    expect(told).toEqual(['reconnecting', 'connected', 'offline']);
    stop();
    await skein.close();
  });

  it('refuses a request before it asks anybody', async () => {
    const session = new FakeLiveSession('d');
    const skein = await connectWith(() => Promise.resolve(session.live), URL_TEXT);
    const messages = [{ role: 'user', content: 'Hello' }] as const;
    await expect(
      skein.chat.completions.create({ model: TINY.id, messages, temperature: 9 }),
    ).rejects.toMatchObject({ code: 'bad-argument', data: { param: 'temperature' } });
    await expect(skein.completions.create({ model: 'no such', prompt: 'Hello' })).rejects.toMatchObject({
      code: 'model-missing',
    });
    await skein.close();
  });
});
