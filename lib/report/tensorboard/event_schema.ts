/**
 * The messages of TensorBoard's event files that are written here, as numbered in `event.proto`,
 * `summary.proto` and `tensor.proto` (proto3):
 * https://github.com/tensorflow/tensorboard/tree/master/tensorboard/compat/proto
 */
import { protobuf } from "../../deps.ts";
import { message } from "../../protobuf_message.ts";

/** One value of a summary; one of `simpleValue`, `image` and `tensor` is set. */
export interface SummaryValue {
  tag: string;
  simpleValue?: number;
  image?: { height: number; width: number; colorspace: number; encodedImageString: Uint8Array };
  tensor?: { dtype: number; tensorShape: { dim: { size: number }[] }; stringVal: Uint8Array[] };
  metadata?: { pluginData: { pluginName: string } };
}

/** One record of an event file; one of the last three is set. */
export interface TensorBoardEvent {
  /** Seconds since 1970. */
  wallTime: number;
  step?: number;
  fileVersion?: string;
  summary?: { value: SummaryValue[] };
  sessionLog?: { status: number };
}

/** `SessionLog.SessionStatus.START`. */
export const sessionStart = 1;
/** `DataType.DT_STRING`. */
export const stringType = 7;

const root = protobuf.Root.fromJSON({
  nested: {
    tensorboard: {
      nested: {
        Event: message({
          wallTime: [1, "double"],
          step: [2, "int64"],
          fileVersion: [3, "string"],
          summary: [5, "Summary"],
          sessionLog: [7, "SessionLog"],
        }),
        SessionLog: message({ status: [1, "int32"] }),
        Summary: message({ value: [1, "Value[]"] }),
        Value: message({
          tag: [1, "string"],
          simpleValue: [2, "float"],
          image: [4, "Image"],
          tensor: [8, "Tensor"],
          metadata: [9, "Metadata"],
        }),
        Image: message({
          height: [1, "int32"],
          width: [2, "int32"],
          colorspace: [3, "int32"],
          encodedImageString: [4, "bytes"],
        }),
        Tensor: message({
          dtype: [1, "int32"],
          tensorShape: [2, "TensorShape"],
          stringVal: [8, "bytes[]"],
        }),
        TensorShape: message({ dim: [2, "Dimension[]"] }),
        Dimension: message({ size: [1, "int64"] }),
        Metadata: message({ pluginData: [1, "PluginData"] }),
        PluginData: message({ pluginName: [1, "string"] }),
      },
    },
  },
});
const eventType = root.lookupType("tensorboard.Event");

/** The bytes of an event. */
export function encodeEvent(event: TensorBoardEvent): Uint8Array {
  return eventType.encode(event).finish();
}
