/** Where the names of points go, so that they cover neither points nor each other. */

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface PlacedLabel {
  /** Start, middle or end of the text stands at x. */
  readonly anchor: "start" | "middle" | "end";
  readonly x: number;
  /** The text's baseline. */
  readonly y: number;
}

const TEXT_HEIGHT = 12;
/** Mean width of a character of the label font, with a margin. */
const CHARACTER_WIDTH = 6.4;
const RADIUS = 6;

const overlap = (a: Box, b: Box) =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

function boxOf(place: PlacedLabel, text: string): Box {
  const width = text.length * CHARACTER_WIDTH;
  const shift = { start: 0, middle: width / 2, end: width }[place.anchor];
  return { x: place.x - shift, y: place.y - TEXT_HEIGHT + 2, width, height: TEXT_HEIGHT };
}

/** Right, left, above, below and the diagonals, nearest first. */
function candidates(x: number, y: number): PlacedLabel[] {
  const places: PlacedLabel[] = [];
  for (const distance of [9, 18, 28]) {
    places.push(
      { anchor: "start", x: x + distance, y: y + 4 },
      { anchor: "end", x: x - distance, y: y + 4 },
      { anchor: "middle", x, y: y - distance },
      { anchor: "middle", x, y: y + distance + 8 },
      { anchor: "start", x: x + distance * 0.7, y: y - distance * 0.7 },
      { anchor: "start", x: x + distance * 0.7, y: y + distance * 0.7 + 8 },
      { anchor: "end", x: x - distance * 0.7, y: y - distance * 0.7 },
      { anchor: "end", x: x - distance * 0.7, y: y + distance * 0.7 + 8 },
    );
  }
  return places;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Small boxes along a polyline, which labels keep off. */
function boxesAlong(line: readonly Point[]): Box[] {
  return line.slice(1).flatMap((end, i) => {
    const begin = line[i];
    const steps = Math.ceil(Math.hypot(end.x - begin.x, end.y - begin.y) / 4);
    return Array.from({ length: steps }, (_, step) => ({
      x: begin.x + ((end.x - begin.x) * step) / steps - 1,
      y: begin.y + ((end.y - begin.y) * step) / steps - 1,
      width: 2,
      height: 2,
    }));
  });
}

/**
 * One place for each point, taken in order: the first candidate that covers least of the points, the lines and
 * the labels that are there already and stays inside the area.
 */
export function placeLabels(
  points: readonly (Point & { readonly text: string })[],
  lines: readonly (readonly Point[])[],
  area: Box,
): PlacedLabel[] {
  const taken: Box[] = points.map(({ x, y }) => ({
    x: x - RADIUS,
    y: y - RADIUS,
    width: 2 * RADIUS,
    height: 2 * RADIUS,
  }));
  taken.push(...lines.flatMap(boxesAlong));
  return points.map(({ x, y, text }) => {
    const cost = (place: PlacedLabel) => {
      const box = boxOf(place, text);
      const outside = box.width * box.height - overlap(box, area);
      return 4 * outside + taken.reduce((sum, other) => sum + overlap(box, other), 0);
    };
    const costs = candidates(x, y).map((place) => ({ place, cost: cost(place) }));
    const { place } = costs.reduce((best, one) => (one.cost < best.cost ? one : best));
    taken.push(boxOf(place, text));
    return place;
  });
}
