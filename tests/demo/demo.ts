import { chromium } from '@playwright/test';
import type { Browser, Page } from '@playwright/test';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { Answer } from '../../src/ui/chat/conversation.ts';
import type { ChatTurn } from '../../src/ui/chat-turn/chat-turn.ts';
import type { ContributorStatus } from '../../src/ui/contributor-status/contributor-status.ts';
import { startMesh } from '../rig/local-server.ts';
import { CHROMIUM_FLAGS } from '../rig/rig.ts';

/** A tab that measures, loads and compiles on a software GPU, with others beside it. */
const SERVING_TIMEOUT_MS = 120_000;
const ANSWER_TIMEOUT_MS = 300_000;
/** How often the growing answer is looked at. */
const POLL_INTERVAL_MS = 50;
/** Contributors report what they sent about once a second; the last report comes after the answer. */
const REPORT_TIMEOUT_MS = 10_000;

export interface DemoOptions {
  readonly chromiumPath: string;
  /** Contributor tabs; the model is split over all of them. */
  readonly tabs: number;
  readonly prompt: string;
  /** 0 is greedy. */
  readonly temperature: number;
  readonly maxTokens: number;
  readonly onText: (text: string) => void;
  readonly onProgress: (line: string) => void;
}

export interface DemoReport {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly route: readonly Hop[];
  readonly timeToFirstTokenMs: number;
  /** Null for an answer of one token. */
  readonly tokensPerSecond: number | null;
  /** Bytes each stage but the last put on the wire per token, averaged over prompt and answer. */
  readonly bytesPerTokenPerHop: readonly number[];
}

/** A whole mesh on this machine: a server on a free port, contributor tabs and a chat tab in one headless browser. */
export async function runDemo(options: DemoOptions): Promise<DemoReport> {
  const server = await startMesh(options.tabs);
  const browser = await chromium.launch({
    executablePath: options.chromiumPath,
    args: [...CHROMIUM_FLAGS],
  });
  try {
    const contributors = await Promise.all(
      Array.from({ length: options.tabs }, () => contribute(browser, server.url)),
    );
    options.onProgress(`${options.tabs} tab${options.tabs === 1 ? '' : 's'} serve at ${server.url}`);
    const answer = await ask(await browser.newPage(), server.url, options);
    return { ...answer, bytesPerTokenPerHop: await bytesPerToken(contributors, answer) };
  } finally {
    await browser.close();
    await server.close();
  }
}

async function contribute(browser: Browser, url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(`${url}/contribute/`);
  await page.getByRole('button', { name: 'Start', exact: true }).click();
  const status = page.getByTestId('contributor');
  await status.and(page.locator('[data-phase=serving]')).waitFor({ timeout: SERVING_TIMEOUT_MS });
  return page;
}

async function ask(
  page: Page,
  url: string,
  { prompt, temperature, maxTokens, onText }: DemoOptions,
): Promise<Omit<DemoReport, 'bytesPerTokenPerHop'>> {
  await page.goto(url);
  await page.getByText('Settings').click();
  await page.getByLabel('Temperature').fill(String(temperature));
  await page.getByLabel('Longest answer').fill(String(maxTokens));
  await page.getByLabel('Your message').fill(prompt);
  await page.keyboard.press('Enter');

  const turn = page.locator('skein-chat-turn');
  let shown = '';
  for (const deadline = Date.now() + ANSWER_TIMEOUT_MS; Date.now() < deadline;) {
    const answer = await turn.evaluate((element: ChatTurn): Answer | null => element.turn?.answer ?? null);
    if (answer === null) continue;
    onText(answer.text.slice(shown.length));
    shown = answer.text;
    const { status, text, tokenIds, route } = answer;
    if (status.phase === 'failed') throw SkeinError.from(status.error);
    if (status.phase === 'done') {
      const { timeToFirstTokenMs, tokensPerSecond } = status;
      return { text, tokenIds, route: route?.hops ?? [], timeToFirstTokenMs, tokensPerSecond };
    }
    await page.waitForTimeout(POLL_INTERVAL_MS);
  }
  throw new SkeinError('timeout', `The answer took over ${ANSWER_TIMEOUT_MS / 1000} s.`);
}

/** In order of the route. Waits until every stage has reported all the rows it passed on. */
async function bytesPerToken(
  contributors: readonly Page[],
  { route }: Pick<DemoReport, 'route'>,
): Promise<number[]> {
  const sent = await Promise.all(contributors.map(sentActivations));
  return route.slice(0, -1).map(({ layerStart }) => {
    const stage = sent.find((each) => each.layerStart === layerStart);
    return stage === undefined ? NaN : stage.bytes / stage.rows;
  });
}

async function sentActivations(page: Page): Promise<{ layerStart: number; bytes: number; rows: number }> {
  const handle = await page.locator('skein-contributor-status').elementHandle();
  const idle = await page.waitForFunction(
    (element) => {
      const { state } = element as ContributorStatus;
      if (state.phase !== 'serving' || state.stats.activeSequences > 0 || state.stats.tokens === 0)
        return null;
      const { activationBytesSent, activationRowsSent } = state.stats;
      return { layerStart: state.slice.layerStart, bytes: activationBytesSent, rows: activationRowsSent };
    },
    handle,
    { timeout: REPORT_TIMEOUT_MS },
  );
  return (await idle.jsonValue()) ?? { layerStart: 0, bytes: 0, rows: 0 };
}
