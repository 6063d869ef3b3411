/**
 * Finished parts of a run, kept on disk until the output is written, so that a killed run resumes where it was. A part is
 * named by the hash of everything that decides its content; it appears under its name only when it is whole.
 *
 * Layout: u32 length of a JSON header, the header, the planes one after another.
 */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { mkdir, open, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { schemes } from "../formats/index.js";
import type { Planes, Scheme } from "../formats/scheme.js";
import type { LinearRecords } from "../models/index.js";
import { type PackedTensor, PLANE_NAMES } from "../tensor/index.js";

/** One tensor of a part, with what is to be reported about it. */
export interface FinishedTensor {
  readonly role: string;
  readonly packed: PackedTensor;
  readonly report: TensorReport;
}

export interface TensorReport {
  /** sum (w - w')^2 / sum w^2. */
  readonly relativeMse: number;
  readonly method?: string;
  readonly seconds?: number;
  /** Share of weights beyond what their group can hold. */
  readonly clippedShare?: number;
  /** E||(W - W') x||^2 / E||W x||^2 on the calibration text: of some rows with a Hessian, else as if channels were independent. */
  readonly relativeOutputError?: number;
  /** The same had the tensor been rounded to nearest. */
  readonly rtnOutputError?: number;
  readonly notes?: Readonly<Record<string, number>>;
}

interface Header {
  readonly tensors: readonly {
    readonly role: string;
    readonly scheme: string;
    readonly shape: readonly number[];
    readonly planes: Readonly<Record<string, readonly [offset: number, length: number]>>;
    readonly report: TensorReport;
  }[];
  /** What the linear maps of the part do besides multiplying, by role. */
  readonly linears?: LinearRecords;
}

export interface ArtifactStore {
  has(key: string): Promise<boolean>;
  put(key: string, tensors: readonly FinishedTensor[], linears?: LinearRecords): Promise<void>;
  /** The tensors of a part; all of them, or the one of that role. */
  get(key: string, role?: string): Promise<FinishedTensor[]>;
  /** What there is in a part. */
  list(
    key: string,
  ): Promise<readonly { readonly role: string; readonly scheme: Scheme; readonly shape: readonly number[] }[]>;
  /** What the linear maps of a part do besides multiplying, by role. */
  linears(key: string): Promise<LinearRecords>;
}

export async function openArtifacts(folder: string): Promise<ArtifactStore> {
  await mkdir(folder, { recursive: true });
  const pathOf = (key: string) => join(folder, `${key}.part`);
  const present = async () => (await readdir(folder)).filter((name) => name.endsWith(".part"));
  return {
    async has(key) {
      return (await present()).includes(`${key}.part`);
    },
    async put(key, tensors, linears) {
      const temporary = join(folder, `${key}.${process.pid}.tmp`);
      const file = await open(temporary, "w");
      try {
        await file.writev(serialized(tensors, linears));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, pathOf(key));
    },
    list: (key) =>
      withPart(pathOf(key), async ({ tensors }) =>
        tensors.map(({ role, scheme, shape }) => ({ role, scheme: schemes.get(scheme), shape })),
      ),
    linears: (key) => withPart(pathOf(key), async ({ linears = {} }) => linears),
    get: (key, role) =>
      withPart(pathOf(key), async (header, read) => {
        const wanted = header.tensors.filter((tensor) => role === undefined || tensor.role === role);
        const finished: FinishedTensor[] = [];
        for (const { role: name, scheme, shape, planes, report } of wanted) {
          const entries: [string, Uint8Array][] = [];
          for (const [plane, [offset, size]] of Object.entries(planes)) {
            entries.push([plane, await read(offset, size)]);
          }
          const packed = {
            scheme: schemes.get(scheme),
            shape,
            planes: Object.fromEntries(entries) as unknown as Planes,
          };
          finished.push({ role: name, packed, report });
        }
        return finished;
      }),
  };
}

/** Runs `work` on the header of a part and a reader of its data. */
async function withPart<T>(
  path: string,
  work: (header: Header, read: (offset: number, length: number) => Promise<Uint8Array>) => Promise<T>,
): Promise<T> {
  const file = await open(path, "r");
  try {
    const read = async (offset: number, length: number) => {
      const bytes = new Uint8Array(length);
      await file.read(bytes, 0, length, offset);
      return bytes;
    };
    const length = new DataView((await read(0, 4)).buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(await read(4, length))) as Header;
    return await work(header, (offset, size) => read(4 + length + offset, size));
  } finally {
    await file.close();
  }
}

function serialized(tensors: readonly FinishedTensor[], linears: LinearRecords | undefined): Uint8Array[] {
  const data: Uint8Array[] = [];
  let offset = 0;
  const header: Header = {
    tensors: tensors.map(({ role, packed, report }) => {
      const planes = PLANE_NAMES.flatMap((name) => {
        const bytes = packed.planes[name];
        if (!bytes) return [];
        data.push(bytes);
        offset += bytes.length;
        return [[name, [offset - bytes.length, bytes.length]]];
      });
      return { role, scheme: packed.scheme.name, shape: packed.shape, planes: Object.fromEntries(planes), report };
    }),
    ...(linears && { linears }),
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  return [length, text, ...data];
}

/** A name for anything that JSON can hold. */
export const hashOf = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 40);

/** The hash of the bytes of all files of a checkpoint that hold tensors, and of its metadata. */
export async function checkpointHash(checkpoint: Checkpoint): Promise<string> {
  const files = [...new Set(checkpoint.tensors.map((tensor) => tensor.file))].sort();
  const hash = createHash("sha256");
  for (const file of files) for await (const chunk of createReadStream(file)) hash.update(chunk as Uint8Array);
  hash.update(JSON.stringify(checkpoint.metadata, (_, value) => (typeof value === "bigint" ? `${value}n` : value)));
  return hash.digest("hex").slice(0, 40);
}

/** The version in package.json, for the record in outputs. */
export function toolVersion(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
