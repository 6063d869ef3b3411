/** The part of docs/methods.md about encoders, made from what `bitloom bench quality` measured of them. */

/** One measurement: an encoder quantized by a method to a scheme, its vectors against the original's. */
export interface EncoderQualityRow {
  readonly model: string;
  readonly method: string;
  readonly scheme: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly texts: number;
  readonly cosineError: number;
  readonly cosineErrorCi95: readonly [number, number];
  readonly worstCosine: number;
  readonly top1Agreement: number;
  readonly top1Ci95: readonly [number, number];
  readonly top10Overlap: number;
  readonly top10Ci95: readonly [number, number];
  readonly seconds: number;
  /** Of calibration text, where fewer or more than the recipe's were asked for. */
  readonly windows?: number;
}

const HEAD = [
  "scheme",
  "method",
  "bits / weight",
  "cosine error",
  "to rtn",
  "worst cosine",
  "same nearest",
  "same ten",
];

/** The section; "" where nothing has been measured. */
export function encodersSection(rows: readonly EncoderQualityRow[]): string {
  if (rows.length === 0) return "";
  const models = [...new Set(rows.map(({ model }) => model))];
  return `
## Measured on encoders

Sentences that calibration has not seen, each as a vector of the original and of the quantized model
(\`bitloom bench quality FOLDER --keep bench/encoder-quality.json\`). The error is the mean of 1 - cosine; nearest means nearest
of the other sentences, by cosine. 95 % intervals over sentences. The table of words is quantized too, those of positions and
token types are not. Rows named w8a8 and w6a6 are the recipes in bench/recipes/: one static range for each input of the layers,
the maximum or, in rows that end in mse, that of least squared error; 2,048 tokens of calibration; weights of the layers rounded
to nearest, with a scale for each output; the table of words left as it is; no transform in rows with static in their name.
In rows that end in tensor each matrix of weights has one scale too. These weights alone, with activations as they are, make the
errors of the rows w8-tensor and w6-tensor: that is what stands in the way of OS+ there.

${models.map((model) => section(rows.filter((row) => row.model === model))).join("\n\n")}
`;
}

function section(rows: readonly EncoderQualityRow[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const schemes = [...new Set(rows.map(({ scheme }) => scheme))];
  const body = schemes.flatMap((scheme) => {
    const members = rows.filter((row) => row.scheme === scheme).sort((a, b) => a.cosineError - b.cosineError);
    return members.map((row) =>
      line(
        cellsOf(
          row,
          members.find(({ method }) => method === "rtn"),
        ),
      ),
    );
  });
  const rule = line(HEAD.map((_, i) => (i < 2 ? "---" : "---:")));
  return [`### ${rows[0].model}, ${rows[0].texts} sentences`, "", line(HEAD), rule, ...body].join("\n");
}

function cellsOf(row: EncoderQualityRow, rtn: EncoderQualityRow | undefined): string[] {
  const share = (x: number) => `${(100 * x).toFixed(1)} %`;
  const range = (ends: readonly number[], text: (x: number) => string) => `(${ends.map(text).join(" to ")})`;
  const digits = (x: number) => x.toFixed(5);
  return [
    row.scheme,
    row.windows === undefined ? row.method : `${row.method} (${row.windows})`,
    row.bitsPerWeight.toFixed(3),
    `${digits(row.cosineError)} ${range(row.cosineErrorCi95, digits)}`,
    rtn ? `${(100 * (row.cosineError / rtn.cosineError - 1)).toFixed(0)} %` : "",
    row.worstCosine.toFixed(4),
    `${share(row.top1Agreement)} ${range(row.top1Ci95, share)}`,
    `${share(row.top10Overlap)} ${range(row.top10Ci95, share)}`,
  ];
}
