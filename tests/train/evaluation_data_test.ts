import { assertEquals, assertThrows } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { checkEvaluationData, classDifference } from "../../lib/train/evaluation_data.ts";

const named = (name: string, ...classNames: string[]) => ({ name, classNames });

Deno.test("the first class that differs is named, and where counts do, both", () => {
  const cats = named("a", "cat", "dog");
  assertEquals(classDifference(cats, named("b", "cat", "dog")), null);
  assertEquals(
    classDifference(cats, named("b", "dog", "cat")),
    'class 0 is "cat" in a and "dog" in b',
  );
  assertEquals(
    classDifference(cats, named("b", "cat", "dog", "emu")),
    'class 2 is none in a and "emu" in b (2 and 3 classes)',
  );
  assertEquals(
    classDifference(named("a", "x\u202e"), named("b", "x")),
    'class 0 is "x\\u{202e}" in a and "x" in b',
  );
});

Deno.test("images of the same classes may be others, which is said; other classes are refused", () => {
  const state = {
    classNames: ["cat", "dog"],
    dataset: { name: "mine", identity: "a".repeat(64), trainCount: 5 },
  };
  const data = { ...named("mine", "cat", "dog"), identity: "a".repeat(64) };
  assertEquals(checkEvaluationData(state, data), null);
  assertEquals(
    checkEvaluationData(state, { ...data, identity: "b".repeat(64) }),
    "These images are not those of the run: their checksum is bbbbbbbbbbbb, its own were " +
      "aaaaaaaaaaaa. The classes are the same.",
  );
  const error = assertThrows(
    () => checkEvaluationData(state, { ...data, classNames: ["cat", "emu"] }),
    UserError,
  );
  assertEquals(
    error.message,
    `The run's classes, of "mine", are not those of mine: class 1 is "dog" in the run and "emu" ` +
      "in mine; name its own data with --data.",
  );
});
