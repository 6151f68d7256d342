import { assertEquals, assertThrows } from "@std/assert";
import { augmentTextOf, parseAugmentations } from "../../lib/augment/list.ts";
import { augmentations } from "../../lib/augment/table.ts";
import { UserError } from "../../lib/errors.ts";

const { flip, crop, rotation, zoom, mixup, cutmix } = augmentations;

Deno.test("a list has its augmentations in their order, with their numbers", () => {
  assertEquals(parseAugmentations("flip|crop(4)"), [
    { name: "flip", augmentation: flip, values: [] },
    { name: "crop", augmentation: crop, values: [4] },
  ]);
  assertEquals(parseAugmentations(" zoom( 0.2 ) | flip()"), [
    { name: "zoom", augmentation: zoom, values: [0.2] },
    { name: "flip", augmentation: flip, values: [] },
  ]);
  assertEquals(parseAugmentations("none"), []);
});

Deno.test("numbers that may be left out are missing", () => {
  assertEquals(parseAugmentations("flip|mixup(0.8)|cutmix(1, 0.25)").slice(1), [
    { name: "mixup", augmentation: mixup, values: [0.8] },
    { name: "cutmix", augmentation: cutmix, values: [1, 0.25] },
  ]);
});

Deno.test("the list of a configuration of release 0.1.0 is made of its three fields", () => {
  const listed = (fields: { flip: boolean; rotation: number; zoom: number; augment?: string }) =>
    augmentTextOf({ augment: "", ...fields });
  assertEquals(
    listed({ flip: true, rotation: 0.02, zoom: 0.2 }),
    "flip|rotation(0.02)|zoom(0.2)",
  );
  assertEquals(listed({ flip: false, rotation: 0, zoom: 0 }), "none");
  assertEquals(listed({ flip: true, rotation: 0, zoom: 0, augment: "crop(2)" }), "crop(2)");
  assertEquals(parseAugmentations("rotation(0.02)")[0]!.augmentation, rotation);
});

const known = Object.keys(augmentations).join(", ");
const wrong: Record<string, string> = {
  "flip|corp(4)": 'There is no augmentation "corp(4)"; did you mean "crop"? ' +
    `A list is like "flip|crop(4)" or "none", of ${known}.`,
  "sparkle": 'There is no augmentation "sparkle". ' +
    `A list is like "flip|crop(4)" or "none", of ${known}.`,
  "flip|": 'There is no augmentation "". ' +
    `A list is like "flip|crop(4)" or "none", of ${known}.`,
  "flip|flip": "The augmentation flip stands twice in the list; leave one out.",
  "flip(1)": "The augmentation flip takes no numbers; 1 are given.",
  "crop": "The augmentation crop takes 1 number: crop(padding); 0 are given.",
  "crop(1,2)": "The augmentation crop takes 1 number: crop(padding); 2 are given.",
  "crop(1.5)": 'The augmentation crop("1.5") cannot be: its padding must be ' +
    "a whole number from 0 to 512.",
  "mixup": "The augmentation mixup takes 1 to 2 numbers: mixup(alpha, probability); 0 are given.",
  "mixup(0)": 'The augmentation mixup("0") cannot be: its alpha must be ' +
    "a number from 0.01 to 100.",
  "cutmix(1,1.5)": 'The augmentation cutmix("1.5") cannot be: its probability must be ' +
    "a number from 0 to 1.",
  "mixup(0.8)|flip": "The augmentation flip cannot stand behind mixup: what moves the picture " +
    "comes before what mixes pictures.",
  "mixup(0.8,0.7)|cutmix(1,0.6)": "The probabilities of mixup and cutmix sum to 1.3, and one " +
    "batch is mixed once; choose numbers that sum to at most 1.",
  "mixup(0.8,1)|cutmix(1)": "The augmentation cutmix would never be used: the probabilities " +
    "beside it sum to 1; lower them, or leave it out.",
  "zoom(-1)": 'The augmentation zoom("-1") cannot be: its largest share must be ' +
    "a number from 0 to 0.999.",
  "randaugment(2,31)": 'The augmentation randaugment("31") cannot be: its magnitude must be ' +
    "a whole number from 0 to 30.",
  "randaugment(9,9)": 'The augmentation randaugment("9") cannot be: its operations must be ' +
    "a whole number from 1 to 8.",
  "jitter(0.4)": "The augmentation jitter takes 3 numbers: " +
    "jitter(brightness, contrast, saturation); 1 are given.",
  "resizedcrop(0)": 'The augmentation resizedcrop("0") cannot be: its least area must be ' +
    "a number from 0.01 to 1.",
  "erase(50)": 'The augmentation erase("50") cannot be: its share of the images must be ' +
    "a number from 0 to 1.",
  "randaugment(2,9)|flip": "The augmentation flip cannot stand behind randaugment: " +
    "what moves the picture comes before what changes its colours.",
  "erase(0.25)|jitter(0.4,0.4,0.4)": "The augmentation jitter cannot stand behind erase: " +
    "what changes its colours comes before what erases a part.",
  "trivialaugmentation": 'There is no augmentation "trivialaugmentation"; ' +
    'did you mean "trivialaugment"? ' +
    `A list is like "flip|crop(4)" or "none", of ${known}.`,
};
for (const [text, message] of Object.entries(wrong)) {
  Deno.test(`the list ${text} is refused`, () => {
    assertEquals(assertThrows(() => parseAugmentations(text), UserError).message, message);
  });
}
