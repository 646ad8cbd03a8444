import type { GoldenAnswers, GoldenTask } from './worker.ts';

declare global {
  interface Window {
    runGolden: (task: GoldenTask) => Promise<GoldenAnswers>;
  }
}

window.runGolden = (task) => {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  return new Promise<GoldenAnswers>((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<GoldenAnswers | { error: string }>) => {
      if ('error' in event.data) reject(new Error(event.data.error));
      else resolve(event.data);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(task);
  }).finally(() => worker.terminate());
};
