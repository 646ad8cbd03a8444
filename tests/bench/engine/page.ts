import { SkeinError } from '../../../src/protocol/errors.ts';
import type { EngineCase, EngineCaseResult, WorkerMessage } from './worker.ts';

declare global {
  interface Window {
    runEngineCase: (task: EngineCase) => Promise<EngineCaseResult>;
    /** Set by the bench. */
    onEngineProgress: (line: string) => void;
  }
}

/** A worker per case: what one case leaves behind cannot slow the next. */
window.runEngineCase = (task) => {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  return new Promise<EngineCaseResult>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<WorkerMessage>) => {
      if (data.type === 'progress') window.onEngineProgress(data.line);
      else if (data.type === 'done') resolve(data.result);
      else reject(SkeinError.fromShape(data.error));
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(task);
  }).finally(() => worker.terminate());
};
