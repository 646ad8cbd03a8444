import { SIGNALING_VERSION } from '../../protocol/signaling.ts';
import { gpuFindings, kernelFinding } from './gpu-report.ts';
import type { DoctorFacts, IceFacts, ServerFacts } from './facts.ts';
import type { Finding } from './finding.ts';

const BYTES_PER_GIB = 1024 ** 3;
/** Node, Dawn and a slice of a small model beside other programs. */
const LEAST_FREE_BYTES = BYTES_PER_GIB;
/** Credentials and certificates are good for hours; clocks that are minutes apart look wrong long before that matters. */
const MAX_CLOCK_SECONDS = 60;

/** What is in the way of this machine's helping, in the order in which it matters. Pure. */
export function doctorReport(facts: DoctorFacts): Finding[] {
  return [
    nodeFinding(facts),
    ...gpuFindings(facts.gpu),
    ...(facts.kernel === null ? [] : [kernelFinding(facts.kernel)]),
    memoryFinding(facts),
    webRtcFinding(facts),
    ...(facts.server === null ? [] : serverFindings(facts.server)),
  ];
}

/** 1 where something stops this machine from helping, else 0. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 {
  return findings.some(({ verdict }) => verdict === 'problem') ? 1 : 0;
}

function nodeFinding({ node: { version, oldest } }: DoctorFacts): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = oldest;
  const check = 'Node';
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) {
    return { check, verdict: 'ok', found: version };
  }
  const found = `${version}, and Skein needs ${oldest.join('.')} or newer`;
  return { check, verdict: 'problem', found, advice: 'Install a newer one from https://nodejs.org.' };
}

function memoryFinding({ memory: { totalBytes, freeBytes } }: DoctorFacts): Finding {
  const gib = (bytes: number) => `${(bytes / BYTES_PER_GIB).toFixed(1)} GiB`;
  const found = `${gib(freeBytes)} free of ${gib(totalBytes)}`;
  if (freeBytes >= LEAST_FREE_BYTES) return { check: 'Memory', verdict: 'ok', found };
  return {
    check: 'Memory',
    verdict: 'warning',
    found,
    advice: 'Close other programs, or lend little of it: skein join --memory-mib 512.',
  };
}

function webRtcFinding({ webRtc }: DoctorFacts): Finding {
  if (webRtc.isOk) {
    const found = `a data channel to itself, and a message there and back, in ${ms(webRtc.facts.milliseconds)}`;
    return { check: 'WebRTC', verdict: 'ok', found };
  }
  return {
    check: 'WebRTC',
    verdict: 'problem',
    found: webRtc.message,
    advice:
      'Tabs and machines talk over UDP, also to themselves: look at the firewall, and whether npm ci installed @roamhq/wrtc for this platform.',
  };
}

function serverFindings({ url, health, session, iceServers }: ServerFacts): Finding[] {
  if (!health.isOk) {
    const advice = 'Check the address, and that skein serve runs there and a firewall lets it through.';
    return [{ check: 'Server', verdict: 'problem', found: `${url}: ${health.message}`, advice }];
  }
  const { models, covered, clockAheadSeconds } = health.facts;
  const offers = `offers ${models} ${models === 1 ? 'model' : 'models'}, of which ${covered} can answer now`;
  return [
    { check: 'Server', verdict: 'ok', found: `${url} ${offers}` },
    ...(clockAheadSeconds === null ? [] : [clockFinding(clockAheadSeconds)]),
    ...sessionFindings(session),
    ...(session.isOk ? wayFindings(session.facts, iceServers) : []),
  ];
}

function clockFinding(aheadSeconds: number): Finding {
  const apart = Math.abs(aheadSeconds);
  const found =
    apart <= 1 ? "as the server's" : `${apart} s ${aheadSeconds > 0 ? 'behind' : 'ahead of'} the server's`;
  if (apart <= MAX_CLOCK_SECONDS) return { check: 'Clock', verdict: 'ok', found };
  const advice =
    'Set both by the network (NTP): certificates and the credentials of TURN servers count on the time of day.';
  return { check: 'Clock', verdict: 'warning', found, advice };
}

function sessionFindings(session: ServerFacts['session']): Finding[] {
  const check = 'Signaling';
  if (!session.isOk) {
    const advice =
      'A proxy has to pass WebSocket upgrades on /signal. Where versions differ, update the older side.';
    return [{ check, verdict: 'problem', found: session.message, advice }];
  }
  const { version } = session.facts;
  return [{ check, verdict: 'ok', found: `version ${version}, as this program's ${SIGNALING_VERSION}` }];
}

function wayFindings({ isRelayOnly }: { isRelayOnly: boolean }, iceServers: readonly IceFacts[]): Finding[] {
  if (iceServers.length === 0) {
    const found = 'the server names no STUN or TURN server: only machines of one network reach each other';
    return [{ check: 'Ways', verdict: 'ok', found }];
  }
  return iceServers.map(({ url, answer }): Finding => {
    if (answer.isOk)
      return { check: 'Ways', verdict: 'ok', found: `${url} answers in ${ms(answer.facts.milliseconds)}` };
    return {
      check: 'Ways',
      verdict: isRelayOnly ? 'problem' : 'warning',
      found: `${url}: ${answer.message}`,
      advice: isRelayOnly
        ? 'All links of this mesh go over it: without it this machine reaches nobody. Let UDP, or TCP for turns:, through the firewall.'
        : 'Without it, other networks may not reach this machine. Let UDP through the firewall, or tell the operator.',
    };
  });
}

function ms(milliseconds: number): string {
  return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
}
