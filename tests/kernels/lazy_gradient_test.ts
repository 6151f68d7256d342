import { assertEquals } from "@std/assert";
import { isTapeOn, onTape } from "../../lib/kernels/lazy_gradient.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

/** x * y in one operation, and which gradients were computed. */
function product(x: tf.Tensor, y: tf.Tensor, computed: string[]): tf.Tensor {
  return onTape({
    inputs: { x, y },
    forward: (save) => {
      save([x, y]);
      return tf.mul(x, y);
    },
    backward: (dy, [x, y]) => ({
      x: () => {
        computed.push("x");
        return tf.mul(dy, y!);
      },
      y: () => {
        computed.push("y");
        return tf.mul(dy, x!);
      },
    }),
  });
}

forEachBackend("only the gradients that are wanted are computed", async () => {
  const [x, y] = [tf.scalar(3), tf.scalar(5)];
  const computed: string[] = [];
  const ofX = tf.grad((x) => product(x, y, computed))(x);
  assertEquals([(await ofX.data())[0], computed], [5, ["x"]]);
  const both = tf.grads((x: tf.Tensor, y: tf.Tensor) => product(x, y, computed))([x, y]);
  assertEquals(await Promise.all(both.map(async (g) => (await g.data())[0])), [5, 3]);
  tf.dispose([x, y, ofX, ...both]);
}, { backends: ["cpu", "webgpu"] });

forEachBackend("a list of one output has a list of one gradient", async () => {
  const x = tf.scalar(2);
  let count = 0;
  const gradient = tf.grad((x) =>
    onTape<tf.Tensor[]>({
      inputs: { x },
      forward: () => [tf.square(x)],
      backward: (dys) => {
        count = dys.length;
        return { x: () => tf.mul(dys[0]!, 4) };
      },
    })[0]!
  )(x);
  assertEquals([(await gradient.data())[0], count], [4, 1]);
  tf.dispose([x, gradient]);
}, { backends: ["cpu"] });

forEachBackend("the tape is on while gradients are recorded", () => {
  const seen: boolean[] = [isTapeOn()];
  const x = tf.scalar(1);
  tf.grad((x) => {
    seen.push(isTapeOn());
    return tf.square(x);
  })(x).dispose();
  assertEquals([...seen, isTapeOn()], [false, true, false]);
  x.dispose();
}, { backends: ["cpu"] });
