import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UserError } from "../../lib/errors.ts";
import { checkEvaluationData, classDifference } from "../../lib/train/evaluation_data.ts";

const state = {
  classNames: ["apple", "bear", "chair"],
  dataset: { name: "fruit", identity: "a".repeat(64), trainCount: 9 },
};
const data = { name: "fruit", classNames: state.classNames, identity: "a".repeat(64) };

Deno.test("the run's own data is fine, and so is other data of the same classes, but said", () => {
  assertEquals(checkEvaluationData(state, data), null);
  const other = checkEvaluationData(state, { ...data, identity: "b".repeat(64) });
  assertStringIncludes(other!, "bbbbbbbbbbbb");
  assertStringIncludes(other!, "aaaaaaaaaaaa");
});

/** Classes of the data and the first difference. */
const cases: [classNames: string[], text: string][] = [
  [["apple", "bee", "chair"], 'class 1 is "bear" in the run and "bee" in fruit'],
  [["bear", "apple", "chair"], 'class 0 is "apple" in the run and "bear" in fruit'],
  [["apple", "bear"], 'class 2 is "chair" in the run and none in fruit (3 and 2 classes)'],
  [
    ["apple", "bear", "chair", "dog"],
    'class 3 is none in the run and "dog" in fruit (3 and 4 classes)',
  ],
];

for (const [classNames, text] of cases) {
  Deno.test(`data of the classes ${classNames} is refused, naming the first that differs`, () => {
    assertThrows(() => checkEvaluationData(state, { ...data, classNames }), UserError, text);
  });
}

Deno.test("equal lists have no difference", () => {
  assertEquals(classDifference({ name: "a", ...state }, { name: "b", ...state }), null);
});
