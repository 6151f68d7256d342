/** Test images and weights, as pictures. */
import { heat } from "../colors.ts";
import { encodePng } from "../encode_png.ts";
import { enlarged, type Figure, type Tile, tilesSvg } from "../figure.ts";
import type { Example, TestFindings, WeightFindings } from "../findings.ts";
import type { Picture } from "../patches.ts";
import { percent } from "../summary.ts";

/** Pixels that an image is drawn at. */
const side = 120;

/** The test images with what they are taken for; kinds without any are left out. */
export function predictionFigures({ right, wrong, surprising }: TestFindings): Figure[] {
  const kinds = [
    {
      ...{ name: "right", title: "Recognized", examples: right },
      caption:
        "Test images that were recognized, from all over the split, with the likeliest classes.",
    },
    {
      ...{ name: "wrong", title: "Not recognized", examples: wrong },
      caption: "Test images that were taken for another class. The class itself stands first.",
    },
    {
      ...{ name: "surprising", title: "Most surprising", examples: surprising },
      caption:
        "The test images to whose class the model gives the least probability: look here for " +
        "wrong labels.",
    },
  ];
  return kinds.filter(({ examples }) => examples.length > 0)
    .map(({ examples, ...figure }) => ({
      ...figure,
      image: tilesSvg(examples.map((example) => predictionTile(example)), side, 5),
    }));
}

function predictionTile({ picture, label, guesses }: Example): Tile {
  const lines = guesses.slice(0, 3)
    .map(({ className, probability }) =>
      `${percent(probability).replace(/\.\d+/, "")} ${className}`
    );
  return {
    pictures: [picture],
    lines: [label, ...lines],
    isRight: guesses[0]?.className === label,
  };
}

/** Attention rollout over test images. */
export function attentionFigure({ right, wrong }: TestFindings): Figure | null {
  const examples = [...right.slice(0, 6), ...wrong.slice(0, 6)];
  if (examples.length === 0) return null;
  const tiles = examples.map(({ picture, label, guesses, attention }) => ({
    pictures: [picture, lit(picture, attention)],
    lines: [label],
    isRight: guesses[0]?.className === label,
  }));
  return {
    ...{ name: "attention", title: "Attention", image: tilesSvg(tiles, side, 3) },
    caption: "Test images, and beside them the same lit by attention rollout (Abnar and Zuidema, " +
      "2020): the brighter a patch, the more of what the model decides by comes from it, from the " +
      "least to the most of each image.",
  };
}

/** A picture as dark as little attention comes from there. */
export function lit({ width, height, channels, data }: Picture, attention: Float32Array): Picture {
  const places = Math.sqrt(attention.length);
  const [least, most] = [Math.min(...attention), Math.max(...attention)];
  const bytes = new Uint8Array(data.length);
  // Between the middles of patches the light goes evenly from one to the next.
  const at = (y: number, x: number) => {
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const value = (row: number, column: number) => {
      const [r, c] = [row, column].map((i) => Math.min(places - 1, Math.max(0, i)));
      return attention[r! * places + c!]!;
    };
    const [down, right] = [y - top, x - left];
    return (value(top, left) * (1 - right) + value(top, left + 1) * right) * (1 - down) +
      (value(top + 1, left) * (1 - right) + value(top + 1, left + 1) * right) * down;
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = at((y + 0.5) * places / height - 0.5, (x + 0.5) * places / width - 0.5);
      const share = most > least ? (value - least) / (most - least) : 1;
      const start = (y * width + x) * channels;
      for (let c = 0; c < channels; c++) {
        bytes[start + c] = Math.round(data[start + c]! * (0.12 + 0.88 * share));
      }
    }
  }
  return { width, height, channels, data: bytes };
}

/** The pictures of figure 7 of the ViT paper, as far as the model has them. */
export function weightFigures({ positions, filters }: WeightFindings): Figure[] {
  const figures: Figure[] = [];
  if (filters.length > 0) {
    const tiles = filters.map((picture) => ({ pictures: [picture], lines: [] }));
    figures.push({
      ...{ name: "filters", title: "Patch filters", image: tilesSvg(tiles, 56, 7) },
      caption:
        `The first ${filters.length} principal components of the filters that see the image, ` +
        "each from its least to its greatest value.",
    });
  }
  if (positions) {
    const mosaic = similarityMosaic(positions.side, positions.similarity);
    const factor = Math.max(1, Math.floor(600 / mosaic.width));
    figures.push({
      ...{ name: "positions", title: "Position embedding" },
      image: encodePng(enlarged(mosaic, factor)),
      caption:
        "A tile for each place of the image: the cosine of its embedding with that of every " +
        "place, from blue (unlike) to yellow (alike). Trained long enough, neighbours, rows and " +
        "columns are alike.",
    });
  }
  return figures;
}

/** A tile for each place, with a line of white between. */
export function similarityMosaic(side: number, similarity: Float32Array): Picture {
  const places = side * side;
  const width = side * (side + 1) - 1;
  const data = new Uint8Array(width * width * 3).fill(255);
  // That of a place with itself is 1 and would hide the others' range.
  const others = similarity.filter((_, at) => Math.floor(at / places) !== at % places);
  const least = others.reduce((a, b) => Math.min(a, b), 1);
  const most = others.reduce((a, b) => Math.max(a, b), -1);
  for (let a = 0; a < places; a++) {
    for (let b = 0; b < places; b++) {
      const y = Math.floor(a / side) * (side + 1) + Math.floor(b / side);
      const x = (a % side) * (side + 1) + b % side;
      const share = (similarity[a * places + b]! - least) / (most - least || 1);
      data.set(heat(share), (y * width + x) * 3);
    }
  }
  return { width, height: width, channels: 3, data };
}
