import { assert, assertEquals } from "@std/assert";
import { type Command, planMemory, type VirtualBuffer } from "../../lib/capture/plan.ts";
import { randomUniform, streamKey } from "../../lib/random.ts";

const layout = {} as GPUBindGroupLayout;

function bufferOf(index: number, size: number, rest: Partial<VirtualBuffer> = {}): VirtualBuffer {
  return { index, size, op: "", survives: false, ...rest } as VirtualBuffer;
}

/** A dispatch as tfjs makes it: the output is bound first. */
function dispatchOf(output: VirtualBuffer, ...inputs: VirtualBuffer[]): Command {
  const bindings = [output, ...inputs].map((buffer, binding) => ({ binding, buffer }));
  const pipeline = {} as GPUComputePipeline;
  return { kind: "dispatch", op: "", pipeline, layout, bindings, workgroups: [1, 1, 1] };
}

Deno.test("buffers of a chain take turns in two", () => {
  const buffers = [400, 300, 200, 100].map((size, index) => bufferOf(index, size));
  const [a, b, c, d] = buffers as [VirtualBuffer, VirtualBuffer, VirtualBuffer, VirtualBuffer];
  const commands = [dispatchOf(a), dispatchOf(b, a), dispatchOf(c, b), dispatchOf(d, c)];
  const plan = planMemory(buffers, commands, 256);
  assertEquals(plan.shared, [400, 300]);
  assertEquals(plan.homes, [{ shared: 0 }, { shared: 1 }, { shared: 0 }, { shared: 1 }]);
  assertEquals(plan.unsharedBytes, 1000);
});

Deno.test("buffers that live at once never share, in 50 random programs", () => {
  for (let program = 0; program < 50; program++) {
    const key = streamKey(1, 99, program);
    let draws = 0;
    const draw = (below: number) => Math.floor(below * randomUniform(key, draws++));
    const buffers: VirtualBuffer[] = [];
    const commands: Command[] = [];
    for (let index = 0; index < 40; index++) {
      const inputs = Array.from({ length: draw(3) }, () => buffers[draw(index)]!).filter(Boolean);
      buffers.push(bufferOf(index, 4 * (1 + draw(100))));
      commands.push(dispatchOf(buffers[index]!, ...inputs));
    }
    const { homes, shared } = planMemory(buffers, commands, 256);
    const lives = buffers.map((buffer) => {
      const uses = [...commands.keys()].filter((at) => {
        const command = commands[at]!;
        return command.kind === "dispatch" && command.bindings.some((b) => b.buffer === buffer);
      });
      return { first: uses[0]!, last: uses.at(-1)! };
    });
    lives.forEach((life, i) => {
      const home = homes[i] as { shared: number };
      assert(shared[home.shared]! >= buffers[i]!.size);
      lives.slice(0, i).forEach((other, k) => {
        const meet = life.first <= other.last && other.first <= life.last;
        if (meet) assert((homes[k] as { shared: number }).shared !== home.shared);
      });
    });
  }
});

Deno.test("what is only read lies in blocks, and equal constants lie there once", () => {
  const content = (byte: number) => new Uint8Array(8).fill(byte);
  const buffers = [
    bufferOf(0, 300, { input: 0 }),
    bufferOf(1, 8, { input: 1 }),
    bufferOf(2, 8, { content: content(1) }),
    bufferOf(3, 8, { content: content(1) }),
    bufferOf(4, 8, { content: content(2) }),
    bufferOf(5, 8, { survives: true }),
  ];
  const plan = planMemory(buffers, [dispatchOf(buffers[5]!, ...buffers.slice(0, 5))], 256);
  assertEquals(plan.homes, [
    { block: "inputs", offset: 0 },
    { block: "inputs", offset: 512 },
    { block: "constants", offset: 0 },
    { block: "constants", offset: 0 },
    { block: "constants", offset: 256 },
    { own: 0 },
  ]);
  assertEquals([plan.inputBytes, plan.constantBytes, plan.own], [768, 512, [8]]);
  assertEquals([plan.preloads, plan.inputOffsets], [[], [0, 512]]);
});

Deno.test("a constant that is written to is laid anew at each replay", () => {
  const constant = bufferOf(0, 8, { content: new Uint8Array(8) });
  const plan = planMemory([constant], [dispatchOf(constant)], 256);
  assertEquals(plan.homes, [{ shared: 0 }]);
  assertEquals(plan.preloads, [{ index: 0, slot: { block: "constants", offset: 0 } }]);
});
