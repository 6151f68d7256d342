import { assertEquals } from "@std/assert";
import { Readback } from "../../lib/backend/readback.ts";
import { tf } from "../../lib/tfjs.ts";
import { forEachBackend } from "../backends.ts";

forEachBackend(
  "a tensor is read again and again, and changes in the copy are not its own",
  async () => {
    const readback = new Readback();
    const read = async (tensor: tf.Tensor) => {
      const values = await readback.read(tensor);
      const copy = [...values];
      values.fill(-1);
      readback.release();
      assertEquals(values.length, 0, "the values outlive their release");
      return copy;
    };
    const [x, longer] = [tf.tensor1d([1, 2, 3]), tf.tensor2d([[4, 5], [6, 7]])];
    const sum = tf.add(x, x);
    assertEquals(await read(sum), [2, 4, 6]);
    assertEquals(await read(sum), [2, 4, 6]);
    assertEquals(await read(longer), [4, 5, 6, 7]);
    assertEquals(await read(x), [1, 2, 3]);
    assertEquals([...await sum.data()], [2, 4, 6]);
    readback.dispose();
    tf.dispose([x, longer, sum]);
  },
  { backends: ["webgpu"] },
);
