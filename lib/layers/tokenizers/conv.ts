import type { tf } from "../../tfjs.ts";
import { ConvTokenizer } from "../conv_tokenizer.ts";
import { TokenEncoder } from "../token_encoder.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Stages of convolution, relu and pooling (Hassani et al., 2021): tokens overlap, and what lies side
 * by side is known before the first block.
 */
export const conv: Tokenizer = {
  fault({ convChannels, imageSize, projectionDim }, name) {
    const field = name("convChannels");
    if (convChannels.length === 0) {
      return `${name("tokenizer")} conv needs ${field}, the filters of each stage; ` +
        `for example ${projectionDim / 2},${projectionDim}.`;
    }
    const most = Math.ceil(Math.log2(imageSize));
    if (convChannels.length > most) {
      return `${field} has ${convChannels.length} stages, each of which halves the image, and of ` +
        `${name("imageSize")} ${imageSize} nothing is left after ${most}; ` +
        `${most === 0 ? "choose larger images" : `choose at most ${most}`}.`;
    }
    if (convChannels.at(-1) === projectionDim) return undefined;
    return `The last of ${field} is ${convChannels.at(-1)} but must equal ` +
      `${name("projectionDim")} ${projectionDim}, because its filters are the tokens' numbers.`;
  },
  side: ({ imageSize, convChannels }) => sides(imageSize, convChannels.length).at(-1)!,
  weights: ({ channels, convChannels }) =>
    convChannels.map((filters, stage) => [
      `tokenizer.stages.${stage}.kernel`,
      [3, 3, stage === 0 ? channels : convChannels[stage - 1]!, filters],
    ]),
  filters: () => ({ kernel: "tokenizer.stages.0.kernel", side: 3, parts: 1 }),
  largest({ imageSize, convChannels }) {
    const before = sides(imageSize, convChannels.length);
    // As the kernels hold them: with a border, and whole vectors of filters.
    const stages = convChannels.map((filters, stage) => {
      const side = before[stage]! + 2;
      return [side, side, Math.ceil(filters / 4) * 4];
    });
    const sizeOf = (shape: number[]) => shape.reduce((a, b) => a * b);
    return {
      name: "the filters of one stage [batch, height, width, filters]",
      shape: stages.reduce((most, shape) => sizeOf(shape) > sizeOf(most) ? shape : most),
    };
  },
  encoder: "token_encoder",
  apply(images, { convChannels }, encoder) {
    const { seed, initializer, given } = encoder;
    const tokenizer = new ConvTokenizer({
      name: "tokenizer",
      filters: convChannels,
      ...{ seed, initializer, given },
    });
    // b h w c -> b n d, then with class token and positions
    return new TokenEncoder(encoder).apply(tokenizer.apply(images)) as tf.SymbolicTensor;
  },
  onnx(graph, config, images) {
    const { convChannels, projectionDim } = config;
    const scope = "tokenizer";
    let x = graph.node(scope, "Transpose", [images], { perm: [0, 3, 1, 2] });
    for (const stage of convChannels.keys()) {
      const at = `${scope}.stages.${stage}`;
      // ONNX has kernels [out, in, height, width].
      const kernel = graph.node(at, "Transpose", [`${at}.kernel`], { perm: [3, 2, 0, 1] });
      x = graph.node(at, "Conv", [x, kernel], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
      x = graph.node(at, "Relu", [x]);
      x = graph.node(at, "MaxPool", [x], {
        kernel_shape: [3, 3],
        pads: [1, 1, 1, 1],
        strides: [2, 2],
      });
    }
    const last = graph.node(scope, "Transpose", [x], { perm: [0, 2, 3, 1] });
    const shape = graph.ints([-1, conv.side(config) ** 2, projectionDim]);
    return graph.node(scope, "Reshape", [last, shape]);
  },
};

/** The side of the image before each stage, and after the last. */
function sides(imageSize: number, stages: number): number[] {
  const list = [imageSize];
  for (let i = 0; i < stages; i++) list.push(Math.ceil(list[i]! / 2));
  return list;
}
