/** Something that was tried: it worked, and this came of it, or it did not. */
export type Outcome<Facts> =
  { readonly isOk: true; readonly facts: Facts } | { readonly isOk: false; readonly message: string };

export interface GpuFacts {
  readonly name: string;
  /** Whether it is a program that computes on the processor. */
  readonly isSoftware: boolean;
  readonly features: readonly string[];
  /** By WebGPU's names. */
  readonly limits: Readonly<Record<GpuLimit, number>>;
}

/** Those that decide whether the kernels run, and on how large matrices. */
export const GPU_LIMITS = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxStorageBuffersPerShaderStage',
] as const;
export type GpuLimit = (typeof GPU_LIMITS)[number];

/** A small matrix product on the GPU against the same in JavaScript. */
export interface KernelFacts {
  /** Of all elements; 0 where they are equal. */
  readonly largestError: number;
  readonly tolerance: number;
  /** Of the second run: the first compiles. */
  readonly milliseconds: number;
}

export interface ServerFacts {
  readonly url: string;
  /** `GET /healthz`, with how far the server's clock is ahead of this one's; whole seconds, as HTTP tells it. */
  readonly health: Outcome<{
    readonly models: number;
    readonly covered: number;
    readonly clockAheadSeconds: number | null;
  }>;
  /** The WebSocket and the hello over it. */
  readonly session: Outcome<{ readonly version: number; readonly isRelayOnly: boolean }>;
  /** STUN and TURN servers that the server names. */
  readonly iceServers: readonly IceFacts[];
}

export interface IceFacts {
  readonly url: string;
  /** How soon it told an address of this machine, or relayed for it. */
  readonly answer: Outcome<{ readonly milliseconds: number }>;
}

/** What was found out about a machine, before it is judged. Parts that cannot be without another are null where that failed. */
export interface DoctorFacts {
  readonly node: { readonly version: string; readonly oldest: readonly [major: number, minor: number] };
  readonly gpu: Outcome<GpuFacts>;
  readonly kernel: Outcome<KernelFacts> | null;
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  /** A data channel between two ends in this process, and one message each way. */
  readonly webRtc: Outcome<{ readonly milliseconds: number }>;
  readonly server: ServerFacts | null;
}
