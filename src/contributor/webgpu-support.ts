/** Why a tab cannot lend its GPU, and what its owner can do about it. */
export interface SupportProblem {
  readonly reason: 'insecure-context' | 'no-webgpu' | 'no-adapter';
  /** What is missing, in one sentence. */
  readonly message: string;
  /** What to do, in one or two sentences. */
  readonly remedy: string;
}

/** The part of the browser that decides; `globalThis` and `navigator` have it. */
export interface SupportEnvironment {
  readonly isSecureContext: boolean;
  readonly hasGpu: boolean;
  readonly userAgent: string;
}

export function currentEnvironment(): SupportEnvironment {
  // Where WebGPU is off the property is missing, whatever its type says.
  return {
    isSecureContext,
    hasGpu: Boolean(navigator.gpu as GPU | undefined),
    userAgent: navigator.userAgent,
  };
}

/**
 * What can be told without touching the GPU; whether there is an adapter shows when the person presses Start.
 * @returns null when nothing speaks against lending.
 */
export function findSupportProblem(environment: SupportEnvironment): SupportProblem | null {
  if (!environment.isSecureContext) {
    return {
      reason: 'insecure-context',
      message:
        'Browsers give a page the GPU only over a secure connection, and this page came over plain HTTP.',
      remedy:
        'Open it with https://, or as http://localhost on the machine that serves it. Where neither is there, whoever runs the server can start it with --https.',
    };
  }
  if (!environment.hasGpu) {
    return {
      reason: 'no-webgpu',
      message: 'This browser does not offer WebGPU.',
      remedy: enableRemedy(environment.userAgent),
    };
  }
  return null;
}

/** For a browser that has WebGPU but gave no adapter: no GPU, a blocklisted driver, or acceleration off. */
export function adapterProblem(userAgent: string): SupportProblem {
  return {
    reason: 'no-adapter',
    message: 'This browser has WebGPU, but offers no graphics adapter to it.',
    remedy: adapterRemedy(userAgent),
  };
}

type Browser = 'firefox' | 'safari' | 'chromium-android' | 'chromium-linux' | 'chromium' | 'unknown';

/** By name and not by feature: a missing feature is what has to be explained. */
function browserOf(userAgent: string): Browser {
  if (userAgent.includes('Firefox/')) return 'firefox';
  if (/Chrome\/|Chromium\//.test(userAgent)) {
    if (userAgent.includes('Android')) return 'chromium-android';
    return /Linux|X11/.test(userAgent) && !userAgent.includes('CrOS') ? 'chromium-linux' : 'chromium';
  }
  // Chrome and Firefox on iOS, which are WebKit underneath, say so too and call themselves something else.
  return userAgent.includes('Safari/') ? 'safari' : 'unknown';
}

function enableRemedy(userAgent: string): string {
  switch (browserOf(userAgent)) {
    case 'firefox':
      return 'Firefox has WebGPU on Windows since version 141 and on Apple Silicon since 145. Elsewhere, set dom.webgpu.enabled to true in about:config, or use Chrome or Edge.';
    case 'safari':
      return 'Safari has WebGPU since version 26 (macOS 26, iOS 26). Update the system, or use Chrome or Edge on a computer.';
    case 'chromium-android':
      return 'Chrome on Android has WebGPU since version 121, on Android 12 and newer. Update both, or use a computer.';
    case 'chromium-linux':
      return 'On Linux, switch on chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan, then restart the browser.';
    case 'chromium':
      return 'Update the browser: Chrome and Edge have WebGPU since version 113. If it is new, look at chrome://gpu for why it is off.';
    case 'unknown':
      return 'Use a current Chrome, Edge, Firefox or Safari.';
  }
}

function adapterRemedy(userAgent: string): string {
  switch (browserOf(userAgent)) {
    case 'firefox':
      return 'Check “Use hardware acceleration when available” in Settings › General › Performance, and the graphics section of about:support.';
    case 'safari':
      return 'Check that the system is up to date and Lockdown Mode is off for this site.';
    case 'chromium-linux':
      return 'Check that a Vulkan driver is installed, and switch on chrome://flags/#enable-vulkan; chrome://gpu says what is blocked and why.';
    case 'chromium-android':
    case 'chromium':
      return 'Switch on graphics acceleration in Settings › System and restart the browser; chrome://gpu says whether the driver is blocked. Updating the graphics driver often helps.';
    case 'unknown':
      return 'Switch on hardware acceleration in the browser’s settings and update the graphics driver.';
  }
}
