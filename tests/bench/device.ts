import { measureBound } from './bound.ts';
import { openBenchDevice } from './gpu.ts';
import { benchReport } from './report.ts';
import type { BenchReport } from './report.ts';

export async function run(): Promise<BenchReport> {
  const { device, adapterName } = await openBenchDevice();
  const { copyBytesPerSecond, flopsPerSecond } = await measureBound(device);
  device.destroy();
  const rows = [{ 'copy GB/s': copyBytesPerSecond / 1e9, 'multiply-add GFLOP/s': flopsPerSecond / 1e9 }];
  return benchReport('device', adapterName, [{ title: 'Bounds of the adapter', rows }], []);
}
