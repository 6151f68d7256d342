/**
 * `deno task bench:capture`: what capture does for a training step that is not ours, a small
 * convolutional net in plain tfjs with tf.train.adam, as it is and captured, turn by turn.
 */
import { capture } from "../lib/capture/capture.ts";
import { checkGpu } from "../lib/backend/device.ts";
import { selectBackend } from "../lib/backend/select.ts";
import { markdownTable } from "../lib/report/tables.ts";
import { tf } from "../lib/tfjs.ts";
import { newCommand, parseArguments, runTask } from "../tasks/cli.ts";
import { print } from "../tasks/output.ts";
import { installMeters, Meter, useMeter } from "./instrument.ts";
import { PlainConvnet } from "./plain_convnet.ts";
import { deviceDone, flush } from "./sides.ts";
import { median } from "./statistics.ts";

const TURNS = 10;

const command = newCommand(
  "bench:capture",
  "Measure a plain tfjs model's training step as it is and captured, on webgpu.",
);

await runTask(async () => {
  parseArguments(command);
  installMeters();
  const { reason, isSoftware } = await selectBackend("webgpu");
  print(`Backend ${reason}`);
  const [plain, net] = [new PlainConvnet(), new PlainConvnet()];
  const inputsAt = (step: number) => ({
    images: tf.tensor(PlainConvnet.imagesOf(step), PlainConvnet.inputShape),
    labels: tf.tensor(PlainConvnet.labelsOf(step), PlainConvnet.labelShape),
  });
  const plainStep = (step: number) =>
    tf.tidy(() => {
      const { images, labels } = inputsAt(step);
      plain.step(images, labels);
    });
  const inputs = inputsAt(0);
  const fn = (i: { images: tf.Tensor; labels: tf.Tensor }) => net.step(i.images, i.labels);
  const start = performance.now();
  const captured = await capture({ inputs, fn });
  const captureMs = performance.now() - start;
  const capturedStep = (step: number) => {
    captured.write("images", PlainConvnet.imagesOf(step));
    captured.write("labels", PlainConvnet.labelsOf(step)).replay();
  };
  plainStep(0);

  const sides = { plain: plainStep, captured: capturedStep };
  const all = { plain: [] as Turn[], captured: [] as Turn[] };
  for (let step = 1; step <= TURNS; step++) {
    for (const name of ["plain", "captured"] as const) {
      const turn = await measure(() => sides[name](step), isSoftware);
      // The first is a warm-up.
      if (step > 1) all[name].push(turn);
    }
  }
  await checkGpu();
  for (const [i, variable] of plain.variables.entries()) {
    const [a, b] = [await variable.data(), await net.variables[i]!.data()];
    if (a.some((x, k) => x !== b[k])) throw new Error(`Variable ${i} differs.`);
  }
  const middle = (name: keyof typeof all, of: (turn: Turn) => number) => median(all[name].map(of));
  const row = (title: string, of: (turn: Turn) => number, digits: number) => [
    title,
    ...(["plain", "captured"] as const).map((name) => middle(name, of).toFixed(digits)),
  ];
  print(markdownTable(["training step, median", "plain tfjs", "captured"], [
    row("ms", ({ ms }) => ms, 2),
    row("host ms, without submit()", ({ hostMs }) => hostMs, 2),
    row("dispatches", ({ dispatches }) => dispatches, 0),
    row("submits", ({ submits }) => submits, 0),
    row("new bind groups", ({ bindGroups }) => bindGroups, 0),
  ]));
  const { plannedBytes, totalBytes } = captured.stats;
  print(
    `${(middle("plain", ({ ms }) => ms) / middle("captured", ({ ms }) => ms)).toFixed(1)} times ` +
      `as fast, equal weights; captured in ${captureMs.toFixed(0)} ms; ` +
      `${plannedBytes} bytes of buffers instead of ${totalBytes}`,
  );
  Deno.exit(0);
});

interface Turn {
  ms: number;
  hostMs: number;
  dispatches: number;
  submits: number;
  bindGroups: number;
}

async function measure(step: () => void, isSoftware: boolean): Promise<Turn> {
  const meter = new Meter();
  useMeter(meter);
  const start = performance.now();
  step();
  flush();
  const hostMs = performance.now() - start - meter.counts.submitMs;
  useMeter(null);
  await deviceDone(isSoftware);
  const { dispatches, submits, bindGroups } = meter.counts;
  return { ms: performance.now() - start, hostMs, dispatches, submits, bindGroups };
}
