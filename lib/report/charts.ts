/**
 * Charts as SVG, drawn by ECharts without a DOM: it brings axes, legends and the fitting of labels,
 * and a page with its pictures needs none of its code.
 */
import { type ChartOption, importCharts } from "../deps.ts";
import { pageColors } from "./colors.ts";

/** One line of a chart. */
export interface Line {
  readonly name: string;
  /** By x; a y that is null leaves a gap. */
  readonly points: readonly (readonly [x: number, y: number | null])[];
  readonly color: string;
  /** How it is drawn; as `dots` it is points joined by a thin line. */
  readonly style?: "solid" | "dashed" | "dots";
}

/** A chart of lines. */
export interface LineChart {
  /** What the lines are over. */
  readonly xName: string;
  /** Whether values are shares, to be written as per cent. */
  readonly isShare?: boolean;
  readonly lines: readonly Line[];
}

/** A matrix of counts. */
export interface Heatmap {
  /** Of rows and columns alike. */
  readonly names: readonly string[];
  /** `values[row][column]`, each drawn by its share of the row's sum. */
  readonly values: readonly (readonly number[])[];
  readonly rowName: string;
  readonly columnName: string;
}

const font = "system-ui, sans-serif";
const width = 640;

/** Draws lines. */
export function lineSvg({ xName, isShare, lines }: LineChart): Promise<string> {
  const format = isShare ? (value: number) => `${+(100 * value).toFixed(2)} %` : shortNumber;
  return drawn(width, 320, {
    grid: { left: 12, right: 24, top: 40, bottom: 34, containLabel: true },
    legend: { top: 0, left: 0, icon: "rect", itemHeight: 3, textStyle: { color: pageColors.ink } },
    xAxis: {
      ...{ type: "value", name: xName, nameLocation: "middle", nameGap: 26, min: "dataMin" },
      ...axis,
      splitLine: { show: false },
      axisLabel: { color: pageColors.muted },
      minInterval: 1,
    },
    yAxis: {
      ...{ type: "value", scale: true, ...axis },
      axisLabel: { color: pageColors.muted, formatter: format },
    },
    series: lines.map(({ name, points, color, style = "solid" }) => ({
      ...{ type: "line", name, data: points.map((point) => [...point]), color },
      ...{ showSymbol: style === "dots" || points.length === 1, symbolSize: 6 },
      lineStyle: { width: style === "dots" ? 1 : 2, type: style === "dashed" ? "dashed" : "solid" },
    })),
  });
}

/** Draws a matrix, each cell by its share of its row. */
export function heatmapSvg({ names, values, rowName, columnName }: Heatmap): Promise<string> {
  const cell = names.length > 24 ? 18 : 24;
  const labels = Math.min(190, 16 + 6.2 * Math.max(...names.map((name) => name.length)));
  const side = cell * names.length;
  const shares = values.flatMap((row, y) => {
    const sum = row.reduce((total, count) => total + count, 0);
    return row.map((count, x) => [x, y, sum === 0 ? 0 : count / sum]);
  });
  const category = (name: string, isColumn: boolean) => ({
    ...{ type: "category" as const, data: [...names], name, nameLocation: "middle" as const },
    nameGap: labels + 18,
    nameTextStyle: { color: pageColors.ink },
    ...{ axisTick: { show: false }, axisLine: { show: false } },
    axisLabel: {
      ...{ color: pageColors.muted, interval: 0, fontSize: 11, width: labels },
      ...{ overflow: "truncate" as const, rotate: isColumn ? 90 : 0 },
    },
  });
  return drawn(side + labels + 60, side + labels + 60, {
    grid: { left: labels + 40, top: 8, width: side, height: side },
    xAxis: category(columnName, true),
    yAxis: { ...category(rowName, false), inverse: true },
    visualMap: {
      ...{ show: false, min: 0, max: 1, dimension: 2 },
      // All so light that what is written on them can be read.
      inRange: { color: ["#f2f7fc", "#b9d7ee", "#79b4de", "#3d93d0"] },
    },
    series: [{
      ...{ type: "heatmap", data: shares, itemStyle: { borderWidth: 1, borderColor: "#fff" } },
      label: {
        // In light and dark alike, as the cells are.
        ...{ show: true, fontSize: 9, color: "#111418" },
        formatter: (cell: { value: unknown }) => {
          const [x, y, share] = cell.value as [number, number, number];
          const text = share >= 0.1 ? String(Math.round(100 * share)) : "";
          return values[y]![x] === 0 ? "" : text;
        },
      },
    }],
  });
}

const axis = {
  nameTextStyle: { color: pageColors.muted },
  axisLine: { show: true, lineStyle: { color: pageColors.rule } },
  splitLine: { lineStyle: { color: pageColors.rule } },
};

async function drawn(width: number, height: number, option: ChartOption): Promise<string> {
  const { init } = await importCharts();
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({ animation: false, textStyle: { fontFamily: font }, ...option });
    return followingPage(chart.renderToSVGString({ useViewBox: true }));
  } finally {
    // Its timers would keep the process alive.
    chart.dispose();
  }
}

/** Lets the page, in dark too, choose the colours that are its own. */
function followingPage(svg: string): string {
  for (const [name, color] of Object.entries(pageColors)) {
    svg = svg.replaceAll(color, `var(--${name}, ${color})`);
  }
  return svg;
}

/** 0.0003 as `3e-4`, and others with at most four digits. */
function shortNumber(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-2) {
    return value.toExponential(2).replace(/\.?0+e/, "e");
  }
  return String(+value.toPrecision(4));
}
