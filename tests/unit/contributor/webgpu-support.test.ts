import { describe, expect, it } from 'vitest';
import { adapterProblem, findSupportProblem } from '../../../src/contributor/webgpu-support.ts';

const AGENTS = {
  chrome:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  chromeLinux:
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  chromeOs:
    'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  chromeAndroid:
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36',
  firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  safari:
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15',
  chromeOnIphone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1',
  other: 'NetSurf/3.10',
} as const;

describe('findSupportProblem', () => {
  it('finds nothing wrong with a secure page and WebGPU', () => {
    expect(findSupportProblem({ isSecureContext: true, hasGpu: true, userAgent: AGENTS.chrome })).toBeNull();
  });

  it('puts an insecure page first: there navigator.gpu is missing in every browser', () => {
    const problem = findSupportProblem({ isSecureContext: false, hasGpu: false, userAgent: AGENTS.firefox });
    expect(problem?.reason).toBe('insecure-context');
    expect(problem?.remedy).toContain('https://');
  });

  it.each([
    ['chrome', /Update the browser/],
    ['chromeLinux', /enable-unsafe-webgpu/],
    ['chromeOs', /Update the browser/],
    ['chromeAndroid', /Android 12/],
    ['firefox', /dom\.webgpu\.enabled/],
    ['safari', /Safari has WebGPU since version 26/],
    ['chromeOnIphone', /iOS 26/],
    ['other', /current Chrome/],
  ] as const)('tells %s what to do without WebGPU', (agent, remedy) => {
    const problem = findSupportProblem({ isSecureContext: true, hasGpu: false, userAgent: AGENTS[agent] });
    expect(problem).toMatchObject({ reason: 'no-webgpu', remedy: expect.stringMatching(remedy) as string });
  });
});

describe('adapterProblem', () => {
  it.each([
    ['chrome', /graphics acceleration/],
    ['chromeLinux', /Vulkan/],
    ['firefox', /hardware acceleration/],
    ['safari', /Lockdown/],
    ['other', /graphics driver/],
  ] as const)('tells %s what to do without an adapter', (agent, remedy) => {
    expect(adapterProblem(AGENTS[agent])).toMatchObject({
      reason: 'no-adapter',
      remedy: expect.stringMatching(remedy) as string,
    });
  });
});
