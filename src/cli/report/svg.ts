/** Markup as text: the few functions that the report needs to write SVG and HTML without a browser. */

type Attributes = Readonly<Record<string, string | number | undefined>>;

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text made safe inside an element or a quoted attribute. */
export const escapeText = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character]);

/** Coordinates to a tenth of a pixel keep the file small. */
const value = (given: string | number) =>
  typeof given === "number" ? String(Math.round(given * 10) / 10) : escapeText(given);

/** `<name a="b">content</name>`; attributes that are undefined are left out, `content` is markup already. */
export function element(name: string, attributes: Attributes = {}, ...content: readonly string[]): string {
  const given = Object.entries(attributes).flatMap(([key, attribute]) =>
    attribute === undefined ? [] : [` ${key}="${value(attribute)}"`],
  );
  return content.length === 0
    ? `<${name}${given.join("")}/>`
    : `<${name}${given.join("")}>${content.join("")}</${name}>`;
}

export const label = (x: number, y: number, text: string, attributes: Attributes = {}): string =>
  element("text", { x, y, ...attributes }, escapeText(text));

/** A path through points. */
export const path = (points: readonly (readonly [number, number])[], attributes: Attributes): string =>
  element("path", {
    d: `M${points.map(([x, y]) => `${value(x)},${value(y)}`).join("L")}`,
    fill: "none",
    ...attributes,
  });
