import { describe, expect, it } from 'vitest';
import { attempt } from '../../../src/cli/doctor/attempt.ts';
import type { DoctorFacts, GpuFacts, ServerFacts } from '../../../src/cli/doctor/facts.ts';
import { doctorReport, exitCodeOf } from '../../../src/cli/doctor/report.ts';
import { reportLines } from '../../../src/cli/doctor/report-lines.ts';
import { colours } from '../../../src/cli/terminal.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';

const GIB = 1024 ** 3;

const GPU: GpuFacts = {
  name: 'Test GPU',
  isSoftware: false,
  features: ['shader-f16', 'subgroups', 'timestamp-query'],
  limits: {
    maxStorageBufferBindingSize: 2 * GIB,
    maxBufferSize: 4 * GIB,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupStorageSize: 32 * 1024,
    maxStorageBuffersPerShaderStage: 10,
  },
};

const SERVER: ServerFacts = {
  url: 'http://localhost:3000/',
  health: { isOk: true, facts: { models: 2, covered: 1, clockAheadSeconds: 0 } },
  session: { isOk: true, facts: { version: SIGNALING_VERSION, isRelayOnly: false } },
  iceServers: [{ url: 'stun:stun.example', answer: { isOk: true, facts: { milliseconds: 20 } } }],
};

const WELL: DoctorFacts = {
  node: { version: '22.1.0', oldest: [20, 19] },
  gpu: { isOk: true, facts: GPU },
  kernel: { isOk: true, facts: { largestError: 1e-6, tolerance: 1e-4, milliseconds: 2 } },
  memory: { totalBytes: 16 * GIB, freeBytes: 8 * GIB },
  webRtc: { isOk: true, facts: { milliseconds: 12 } },
  server: SERVER,
};

const failed = (message: string) => ({ isOk: false, message }) as const;

describe('the report of a machine', () => {
  it('is nothing but ok where all is well', () => {
    const findings = doctorReport(WELL);
    expect(findings.map(({ verdict }) => verdict)).toEqual(findings.map(() => 'ok'));
    expect(findings.map(({ check }) => check)).toEqual([
      'Node',
      'GPU',
      'Features',
      'Limits',
      'Kernel',
      'Memory',
      'WebRTC',
      'Server',
      'Clock',
      'Signaling',
      'Ways',
    ]);
    expect(exitCodeOf(findings)).toBe(0);
    expect(reportLines(findings, colours({})).at(-1)).toBe('This machine can help. Lend it with: skein join');
  });

  const relayOnly = { isOk: true, facts: { version: SIGNALING_VERSION, isRelayOnly: true } } as const;
  const deadTurn = [{ url: 'turn:turn.example', answer: failed('no answer') }];
  const software = { ...GPU, name: 'llvmpipe', isSoftware: true };
  const cases: [string, Partial<DoctorFacts>, string, 'ok' | 'warning' | 'problem', string][] = [
    ['an old Node', { node: { version: '20.9.0', oldest: [20, 19] } }, 'Node', 'problem', 'needs 20.19'],
    ['an older Node', { node: { version: '18.20.0', oldest: [20, 19] } }, 'Node', 'problem', 'needs 20.19'],
    ['no GPU', { gpu: failed('No adapter.'), kernel: null }, 'GPU', 'problem', 'No adapter.'],
    [
      'a software adapter',
      { gpu: { isOk: true, facts: software } },
      'GPU',
      'warning',
      'a software adapter: answers come, slowly',
    ],
    [
      'no features',
      { gpu: { isOk: true, facts: { ...GPU, features: [] } } },
      'Features',
      'ok',
      'no shader-f16 (two-byte weights are unpacked in more steps)',
    ],
    [
      'a small limit',
      {
        gpu: {
          isOk: true,
          facts: { ...GPU, limits: { ...GPU.limits, maxComputeInvocationsPerWorkgroup: 128 } },
        },
      },
      'Limits',
      'problem',
      '128 invocations in a workgroup, and the kernels take 256',
    ],
    [
      'wrong products',
      { kernel: { isOk: true, facts: { largestError: 0.5, tolerance: 1e-4, milliseconds: 2 } } },
      'Kernel',
      'problem',
      'wrong by 0.5',
    ],
    [
      'products that are no numbers',
      { kernel: { isOk: true, facts: { largestError: NaN, tolerance: 1e-4, milliseconds: 2 } } },
      'Kernel',
      'problem',
      'wrong by NaN',
    ],
    ['a kernel that does not run', { kernel: failed('lost') }, 'Kernel', 'problem', 'lost'],
    [
      'little memory',
      { memory: { totalBytes: GIB, freeBytes: GIB / 2 } },
      'Memory',
      'warning',
      '0.5 GiB free',
    ],
    ['no WebRTC', { webRtc: failed('no answer') }, 'WebRTC', 'problem', 'no answer'],
    ['no server', { server: { ...SERVER, health: failed('refused') } }, 'Server', 'problem', 'refused'],
    [
      'another version',
      { server: { ...SERVER, session: failed('speaks 4') } },
      'Signaling',
      'problem',
      'speaks 4',
    ],
    [
      'a clock that is wrong',
      {
        server: {
          ...SERVER,
          health: { isOk: true, facts: { models: 1, covered: 0, clockAheadSeconds: -90 } },
        },
      },
      'Clock',
      'warning',
      "90 s ahead of the server's",
    ],
    [
      'a STUN server that is away',
      { server: { ...SERVER, iceServers: deadTurn } },
      'Ways',
      'warning',
      'no answer',
    ],
    [
      'a TURN server that is away where there is no other way',
      { server: { ...SERVER, session: relayOnly, iceServers: deadTurn } },
      'Ways',
      'problem',
      'no answer',
    ],
  ];

  it.each(cases)('of %s', (_, changes, check, verdict, words) => {
    const findings = doctorReport({ ...WELL, ...changes });
    const found = findings.find((finding) => finding.check === check);
    expect(found).toMatchObject({ verdict });
    expect(found?.found).toContain(words);
    expect(found?.advice !== undefined).toBe(verdict !== 'ok');
    expect(findings.filter((finding) => finding.verdict !== 'ok')).toHaveLength(verdict === 'ok' ? 0 : 1);
    expect(exitCodeOf(findings)).toBe(verdict === 'problem' ? 1 : 0);
    const lines = reportLines(findings, colours({})).join('\n');
    expect(lines).toContain(words);
    expect(lines).toContain(found?.advice ?? words);
    const isSaidToHelp = lines.includes('This machine can help');
    expect(isSaidToHelp).toBe(verdict !== 'problem');
  });

  it('asks nothing more of a server that does not answer, and tries none where none is named', () => {
    const away = doctorReport({ ...WELL, server: { ...SERVER, health: failed('refused') } });
    expect(away.at(-1)?.check).toBe('Server');
    expect(doctorReport({ ...WELL, server: null }).at(-1)?.check).toBe('WebRTC');
  });
});

describe('an attempt', () => {
  it('gives what came of it', async () => {
    expect(await attempt('It', 1000, () => Promise.resolve(7))).toEqual({ isOk: true, facts: 7 });
  });

  it('ends in time, and tells the work', async () => {
    let aborted = false;
    const outcome = await attempt('It', 5, (signal) => {
      signal.addEventListener('abort', () => (aborted = true));
      return new Promise(() => undefined);
    });
    expect(outcome).toEqual({ isOk: false, message: 'It gave no answer within 0.005 s.' });
    expect(aborted).toBe(true);
  });

  it('says why it failed, which fetch hides in the cause', async () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const fetchFailed = new TypeError('fetch failed', { cause: refused });
    expect(await attempt('It', 1000, () => Promise.reject(fetchFailed))).toMatchObject({
      message: 'connect ECONNREFUSED',
    });
    const own = new SkeinError('server-lost', 'gone', { cause: refused });
    expect(await attempt('It', 1000, () => Promise.reject(own))).toMatchObject({ message: 'gone' });
  });
});

describe('colours', () => {
  it('are for terminals whose owners want them', () => {
    expect(colours({ isTTY: true }, {}).red('no')).toBe('\u001b[31mno\u001b[0m');
    expect(colours({ isTTY: true }, { NO_COLOR: '1' }).red('no')).toBe('no');
    expect(colours({ isTTY: false }, {}).red('no')).toBe('no');
    expect(colours({}, {}).dim('no')).toBe('no');
  });
});
