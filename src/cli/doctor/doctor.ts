import { totalmem } from 'node:os';
import { Argument, Command, InvalidArgumentError } from 'commander';
import { SkeinError } from '../../protocol/errors.ts';
import { parseServerUrl } from '../../mesh/server-url.ts';
import { fingerprintOption, trustFingerprint } from '../certificate-trust.ts';
import { endProcess } from '../end-process.ts';
import { packageFacts } from '../package-facts.ts';
import { colours } from '../terminal.ts';
import { probeGpu } from './gpu-probe.ts';
import { doctorReport, exitCodeOf } from './report.ts';
import type { DoctorFacts } from './facts.ts';
import { reportLines } from './report-lines.ts';
import { probeServer } from './server-probe.ts';
import { probeWebRtc } from './webrtc-probe.ts';

interface DoctorOptions {
  readonly adapter?: string;
  readonly fingerprint?: string;
  readonly json: boolean;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Say what would stop this machine from helping.')
    .addArgument(new Argument('[url]', 'a server to try, too').argParser(parseUrl))
    .option('--adapter <name>', "part of the GPU's name, where there are several")
    .addOption(fingerprintOption())
    .option('--json', 'print one JSON object', false)
    .addHelpText(
      'after',
      `
Looks at Node, the GPU and what it can do, runs a small kernel on it and checks what comes out, looks at the memory, and
opens a WebRTC channel to itself. With a server: whether it answers, its version, its STUN and TURN servers, its clock.
Ends with 1 where there is a problem, and with 0 where there are warnings at most.

Examples:
  $ skein doctor
  $ skein doctor https://mesh.example
  $ skein doctor --adapter NVIDIA --json`,
    )
    .action(runDoctor);
}

async function runDoctor(serverUrl: string | undefined, options: DoctorOptions): Promise<void> {
  const { version, oldestNode } = packageFacts();
  const { gpu, kernel } = await probeGpu(options.adapter);
  const facts: DoctorFacts = {
    node: { version: process.versions.node, oldest: oldestNode },
    gpu,
    kernel,
    memory: { totalBytes: totalmem(), freeBytes: process.availableMemory() },
    webRtc: await probeWebRtc(),
    server: serverUrl === undefined ? null : await server(serverUrl, options.fingerprint),
  };
  const findings = doctorReport(facts);
  const exitCode = exitCodeOf(findings);
  if (options.json) console.log(JSON.stringify({ isReady: exitCode === 0, version, findings, facts }));
  else console.log(reportLines(findings, colours(process.stdout)).join('\n'));
  await endProcess(exitCode);
}

async function server(url: string, fingerprint: string | undefined) {
  return probeServer(url, await trustFingerprint(url, fingerprint));
}

function parseUrl(text: string): string {
  try {
    return parseServerUrl(text);
  } catch (thrown) {
    throw new InvalidArgumentError(SkeinError.from(thrown).message);
  }
}
