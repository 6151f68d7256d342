/**
 * An event file of TensorBoard: scalars, pictures and text by step, as Aim, W&B and SwanLab import
 * them too. Records are those of TFRecord: length, checksum, data, checksum.
 */
import { concat } from "../../deps.ts";
import { ioError } from "../../io_error.ts";
import { maskedCrc32c } from "./crc32c.ts";
import {
  encodeEvent,
  sessionStart,
  stringType,
  type SummaryValue,
  type TensorBoardEvent,
} from "./event_schema.ts";

/** Where and from which step on an event file is written. */
export interface EventFileOptions {
  /** The folder of the run, below that which TensorBoard is told; made where it is missing. */
  folder: string;
  /** The step that the run stands at: 0 for a new one. */
  step: number;
  /** Milliseconds since 1970. */
  now: () => number;
}

/** Writes an event file beside the training; the first failure ends it, and {@linkcode close} throws it. */
export class EventFile implements AsyncDisposable {
  private writing: Promise<void>;
  private failure: unknown;
  private file: Deno.FsFile | undefined;

  /** Begins a file; of a run that goes on TensorBoard is told which steps come again. */
  constructor(private readonly options: EventFileOptions) {
    const { folder, step, now } = options;
    const seconds = Math.floor(now() / 1000);
    // The host is nobody's business, and TensorBoard sorts by the seconds.
    const path = `${folder}/events.out.tfevents.${seconds}.deno-vit.${Deno.pid}.${step}`;
    this.writing = this.open(path);
    this.write({ fileVersion: "brain.Event:2" });
    // All from that step on is forgotten; what the state has seen stays.
    if (step > 0) this.write({ step: step + 1, sessionLog: { status: sessionStart } });
  }

  /** Writes numbers at a step; what is null or NaN is left out. */
  scalars(step: number, values: Record<string, number | null | undefined>): void {
    const value = Object.entries(values).flatMap(([tag, simpleValue]): SummaryValue[] =>
      typeof simpleValue === "number" && Number.isFinite(simpleValue) ? [{ tag, simpleValue }] : []
    );
    if (value.length > 0) this.write({ step, summary: { value } });
  }

  /** Writes a picture at a step. */
  image(
    step: number,
    tag: string,
    { width, height, channels, png }: {
      width: number;
      height: number;
      channels: number;
      png: Uint8Array;
    },
  ): void {
    const image = { width, height, colorspace: channels, encodedImageString: png };
    this.write({ step, summary: { value: [{ tag, image }] } });
  }

  /** Writes a text, Markdown. */
  text(step: number, tag: string, text: string): void {
    const stringVal = [new TextEncoder().encode(text)];
    const tensor = { dtype: stringType, tensorShape: { dim: [{ size: 1 }] }, stringVal };
    const metadata = { pluginData: { pluginName: "text" } };
    this.write({ step, summary: { value: [{ tag, tensor, metadata }] } });
  }

  /**
   * Waits until all is written, and closes the file.
   * @throws {UserError} if it could not be written.
   */
  async close(): Promise<void> {
    await this.writing;
    this.file?.close();
    this.file = undefined;
    if (this.failure) throw this.failure;
  }

  /** The same, for `await using`; without a word of what failed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  private async open(path: string): Promise<void> {
    try {
      await Deno.mkdir(this.options.folder, { recursive: true });
      this.file = await Deno.open(path, { write: true, createNew: true });
    } catch (error) {
      this.failure = ioError(error, "write", path);
    }
  }

  private write(event: Omit<TensorBoardEvent, "wallTime">): void {
    const bytes = record(encodeEvent({ wallTime: this.options.now() / 1000, ...event }));
    this.writing = this.writing.then(async () => {
      if (this.failure || !this.file) return;
      try {
        for (let done = 0; done < bytes.length;) {
          done += await this.file.write(bytes.subarray(done));
        }
      } catch (error) {
        this.failure = ioError(error, "write", this.options.folder);
      }
    });
  }
}

/** A record of TFRecord. */
export function record(data: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(data.length), true);
  return concat([length, checksum(length), data, checksum(data)]);
}

function checksum(bytes: Uint8Array): Uint8Array {
  const four = new Uint8Array(4);
  new DataView(four.buffer).setUint32(0, maskedCrc32c(bytes), true);
  return four;
}
