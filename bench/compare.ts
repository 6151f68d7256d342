/** Interleaved measurement of the two sides' training steps. */
import { assertGpuHealthy } from "../lib/backend/device.ts";
import { waitedMs } from "../lib/capture/repeated.ts";
import type { Counts, Meter } from "./instrument.ts";
import { useMeter } from "./instrument.ts";
import { activate, deviceDone, flush, MOST_STEPS, type Side } from "./sides.ts";
import { median } from "./statistics.ts";

/** Cost of a training step of one side. */
export interface SideReport {
  msPerStep: { median: number; min: number; max: number };
  imagesPerSecond: number;
  /** Of one step; null on backends without WebGPU. */
  gpu: {
    dispatches: number;
    submits: number;
    /** Calls of `createBuffer`. */
    newBuffers: number;
    bindGroups: number;
    /** Milliseconds of JavaScript, without what passes inside `submit()`. */
    hostMs: number;
    /** Milliseconds inside `submit()`, where a software adapter waits for the submission before. */
    submitMs: number;
    /** Most bytes of buffers that existed at once, those kept for reuse among them. */
    peakBytes: number;
    /** Most bytes of buffers that held a tensor at once. */
    peakUsedBytes: number;
  } | null;
  /** Mean loss of the last turn: proof that it trains. */
  loss: number;
}

/** Options of the measurement. */
export interface CompareOptions {
  batchSize: number;
  /** Whether the adapter computes on the CPU. */
  isSoftware: boolean;
  /** Measured turns of each side; with 0 the sides are only warmed up. */
  turns: number;
  /** Steps between two waits for the device. */
  stepsPerTurn: number;
  /** Turns of one step before that; the first compiles all pipelines. */
  warmup: number;
  /** Told before each turn. */
  onTurn?: (side: Side["name"], turn: number, isWarmup: boolean) => void;
}

interface Turn {
  ms: number;
  hostMs: number;
  counts: Counts;
}

/** Measures the sides turn by turn, in the given order, A B A B. */
export async function compareSides(
  sides: readonly Side[],
  options: CompareOptions,
): Promise<Map<Side["name"], SideReport>> {
  const { warmup, turns, stepsPerTurn, onTurn } = options;
  if (stepsPerTurn > MOST_STEPS) throw new RangeError(`${stepsPerTurn} steps are too many a turn.`);
  const measured = new Map(sides.map(({ name }) => [name, [] as Turn[]]));
  const losses = new Map<Side["name"], number>();
  for (let turn = -warmup; turn < turns; turn++) {
    for (const side of sides) {
      onTurn?.(side.name, turn < 0 ? turn + warmup : turn, turn < 0);
      const result = await takeTurn(side, turn < 0 ? 1 : stepsPerTurn, options.isSoftware);
      if (turn >= 0) measured.get(side.name)!.push(result);
      losses.set(side.name, await side.loss());
      useMeter(null);
      assertGpuHealthy();
    }
  }
  useMeter(null);
  return new Map(sides.map(({ name, meter }) => [
    name,
    reportOf(measured.get(name)!, meter, losses.get(name)!, options),
  ]));
}

async function takeTurn(side: Side, steps: number, isSoftware: boolean): Promise<Turn> {
  await activate(side);
  const before = { ...side.meter.counts };
  const start = performance.now();
  const waitedBefore = waitedMs;
  for (let i = 0; i < steps; i++) await side.step();
  flush();
  const recorded = performance.now() - start - (waitedMs - waitedBefore);
  const counts = side.meter.since(before);
  useMeter(null);
  await deviceDone(isSoftware);
  const ms = performance.now() - start;
  return { ms, hostMs: recorded - counts.submitMs, counts };
}

function reportOf(
  turns: readonly Turn[],
  meter: Meter,
  loss: number,
  { batchSize, stepsPerTurn }: CompareOptions,
): SideReport {
  const perStep = (value: (turn: Turn) => number) =>
    turns.map((turn) => value(turn) / stepsPerTurn);
  const ms = perStep((turn) => turn.ms);
  const middle = (value: (turn: Turn) => number) => median(perStep(value));
  return {
    msPerStep: { median: median(ms), min: Math.min(...ms), max: Math.max(...ms) },
    imagesPerSecond: 1000 * batchSize / median(ms),
    gpu: meter.counts.dispatches === 0 ? null : {
      dispatches: middle(({ counts }) => counts.dispatches),
      submits: middle(({ counts }) => counts.submits),
      newBuffers: middle(({ counts }) => counts.buffers),
      bindGroups: middle(({ counts }) => counts.bindGroups),
      hostMs: middle((turn) => turn.hostMs),
      submitMs: middle(({ counts }) => counts.submitMs),
      peakBytes: meter.peakAliveBytes,
      peakUsedBytes: meter.peakUsedBytes,
    },
    loss,
  };
}
