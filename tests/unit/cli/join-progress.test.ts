import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { countingByteStore } from '../../../src/cli/counting-byte-store.ts';
import { describeState, summarizeState } from '../../../src/cli/join-states.ts';
import { parseLayers } from '../../../src/cli/layer-option.ts';
import { LoadingMeter } from '../../../src/cli/loading-meter.ts';
import { optionalServerArgument } from '../../../src/cli/server-argument.ts';
import type { ContributorState } from '../../../src/contributor/contributor-state.ts';
import type { ByteStore } from '../../../src/model/byte-store.ts';

describe('the layers to hold', () => {
  it.each([
    ['0:14', { layerStart: 0, layerEnd: 14 }],
    ['27:28', { layerStart: 27, layerEnd: 28 }],
    ['3:1024', { layerStart: 3, layerEnd: 1024 }],
  ])('are %s', (text, layers) => {
    expect(parseLayers(text)).toEqual(layers);
  });

  it.each(['', '3', '3:3', '5:3', '-1:3', '0:1025', '0-3', '0:3:4', '0x1:9', '1.5:3'])(
    'cannot be "%s"',
    (text) => {
      expect(() => parseLayers(text)).toThrow('a:b');
    },
  );
});

describe('the server to talk to', () => {
  it('is the one on this machine where none is named', () => {
    const parse = (...given: string[]) => {
      const command = new Command().addArgument(optionalServerArgument()).exitOverride();
      command.configureOutput({ writeErr: () => undefined }).parse(given, { from: 'user' });
      return command.processedArgs[0] as unknown;
    };
    expect(parse()).toBe('http://localhost:3000/');
    expect(parse('mesh.example')).toBe('http://mesh.example/');
    expect(() => parse('two words')).toThrow('no address');
  });
});

describe('how fast weights come', () => {
  it('is told over the last seconds, with whence', () => {
    const meter = new LoadingMeter('mesh.example', () => 0);
    expect(meter.words(1e6, 1000)).toBe('from mesh.example');
    expect(meter.words(5e6, 2000)).toBe('4.0 MB/s from mesh.example');
    expect(meter.words(6e6, 4500)).toBe('0.4 MB/s from mesh.example');
  });

  it('names the disk where most was read from it, for each load anew', () => {
    let diskBytes = 7e6;
    const meter = new LoadingMeter('mesh.example', () => diskBytes);
    expect(meter.words(0, 0)).toBe('from mesh.example');
    diskBytes += 3e6;
    expect(meter.words(4e6, 1000)).toBe("4.0 MB/s from this machine's disk");
    meter.reset();
    meter.words(0, 2000);
    expect(meter.words(1e6, 3000)).toBe('1.0 MB/s from mesh.example');
  });

  it('counts what a store gives, and not what it lacks', async () => {
    const bytes: ByteStore = {
      get: (name) => Promise.resolve(name === 'there' ? new Uint8Array(5) : null),
      put: () => Promise.resolve(),
      delete: () => Promise.resolve(),
      names: () => Promise.resolve(['there']),
    };
    const store = countingByteStore(bytes);
    await store.get('there');
    await store.get('gone');
    await store.get('there');
    expect(store.readBytes).toBe(10);
    expect(await store.names()).toEqual(['there']);
  });
});

describe('a machine that is asked to stop', () => {
  const stopping = (activeSequences: number): ContributorState => ({ phase: 'stopping', activeSequences });

  it.each([
    [0, 'Finishing what is under way. Press Ctrl-C again to end at once.'],
    [1, 'Finishing the last answer under way. Press Ctrl-C again to end at once.'],
    [3, 'Finishing 3 answers under way. Press Ctrl-C again to end at once.'],
  ])('counts down: %d', (count, words) => {
    expect(describeState(stopping(count))).toBe(words);
    expect(summarizeState(stopping(count))).toEqual({ phase: 'stopping', activeSequences: count });
  });
});
