import { tf } from "../tfjs.ts";
import { adamwGroups } from "../kernels/optimizer/adamw.ts";

/** One variable's running averages of the gradient and of its square, flat. */
export interface Moments {
  /** Average of the gradient. */
  m: Float32Array;
  /** Average of its square. */
  v: Float32Array;
}

/** The moments of several variables, side by side. */
export interface Store {
  m: tf.Tensor;
  v: tf.Tensor;
}

/** A variable's place in a store. */
export interface Slot {
  store: Store;
  /** Start of the variable's moments, in elements. */
  offset: number;
  shape: number[];
  /** The variable's data after our last update: what we may write in place. */
  owned?: object;
}

/**
 * Adam's moments of many variables in few flat tensors, because a dispatch of the update can bind
 * only so many (see adamw.ts of the kernels).
 */
export class MomentStores {
  /** By the variable's name, in the order in which the variables came. */
  readonly slots = new Map<string, Slot>();

  /**
   * Gives variables, none of them empty, a place.
   * @param given what each starts from; zeros if nothing
   */
  add(variables: tf.Variable[], given: (Moments | undefined)[]): void {
    const made: Slot[] = [];
    const slots: Slot[] = [];
    for (const members of adamwGroups(variables.map(({ size }) => size))) {
      const total = members.reduce((sum, index) => sum + variables[index]!.size, 0);
      const [m, v] = [new Float32Array(total), new Float32Array(total)];
      const store = {} as Store;
      let offset = 0;
      for (const index of members) {
        const { shape, size } = variables[index]!;
        const moments = given[index];
        if (moments) {
          m.set(moments.m, offset);
          v.set(moments.v, offset);
        }
        made[index] = { store, offset, shape };
        offset += size;
      }
      store.m = tf.keep(tf.tensor1d(m));
      store.v = tf.keep(tf.tensor1d(v));
    }
    variables.forEach(({ name }, index) => this.slots.set(name, slots[index]!));
    // In the order of the variables, not of the groups: it decides whose moments are loaded.
    variables.forEach(({ name }, index) => {
      if (made[index]) this.slots.set(name, made[index]);
    });
  }

  /** Reads all moments from the device, by the variables' names. Not to be written to. */
  async read(): Promise<Map<string, Moments>> {
    const stores = [...new Set([...this.slots.values()].map(({ store }) => store))];
    // At once, because on webgpu each read alone waits for some 11 ms.
    const read = stores.map(async ({ m, v }): Promise<Moments> => {
      const [means, squares] = [m.data<"float32">(), v.data<"float32">()];
      return { m: await means, v: await squares };
    });
    const arrays = new Map((await Promise.all(read)).map((values, i) => [stores[i]!, values]));
    return new Map([...this.slots].map(([name, { store, offset, shape }]) => {
      const { m, v } = arrays.get(store)!;
      const end = offset + tf.util.sizeFromShape(shape);
      return [name, { m: m.subarray(offset, end), v: v.subarray(offset, end) }];
    }));
  }

  dispose(): void {
    for (const { store } of this.slots.values()) tf.dispose([store.m, store.v]);
    this.slots.clear();
  }
}
