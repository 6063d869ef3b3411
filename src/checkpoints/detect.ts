/** Which container a path holds, by its content; for what is none, a message that says what it is instead. */
import { FileError, UnsupportedError } from "../errors.js";
import type { Checkpoint, Container } from "./checkpoint.js";

/** Signatures of files that people take for model files, with what to do. */
const STRANGERS: readonly { readonly starts: readonly number[]; readonly is: string; readonly advice: string }[] = [
  {
    starts: [0x50, 0x4b, 0x03, 0x04],
    is: "a zip archive, such as PyTorch's .pt and .bin files",
    advice: "convert it to safetensors: safetensors.torch.save_file(torch.load(...), ...)",
  },
  {
    starts: [0x80, 0x02],
    is: "a Python pickle, such as old PyTorch files",
    advice: "convert it to safetensors: safetensors.torch.save_file(torch.load(...), ...)",
  },
  { starts: [0x89, 0x48, 0x44, 0x46], is: "an HDF5 file, such as Keras weights", advice: "convert it to safetensors" },
  { starts: [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59], is: "a NumPy array", advice: "convert it to safetensors" },
  { starts: [0x1f, 0x8b], is: "a gzip archive", advice: "unpack it first" },
  { starts: [0x46, 0x55, 0x47, 0x47], is: "a big-endian GGUF file", advice: "convert the model again, little-endian" },
  {
    starts: [...new TextEncoder().encode("version https://git-lfs")],
    is: "a Git LFS pointer, not the file itself",
    advice: "fetch the file: git lfs pull",
  },
  { starts: [0x7b], is: "a JSON file", advice: "name the folder that it lies in" },
  { starts: [0x3c], is: "an HTML or XML page, perhaps of a failed download", advice: "download the file again" },
];

/** The container of `path`; a FileError that says what the path holds instead. */
export async function detectContainer(path: string, containers: readonly Container[]): Promise<Container> {
  for (const container of containers) if (await container.detect(path)) return container;
  const tried = containers.map((container) => container.name).join(" nor ");
  const [{ fileSource, firstBytes }, { directory }] = await Promise.all([
    import("./file.js"),
    import("./safetensors/folder.js"),
  ]);
  // Says so if the path does not exist or may not be read.
  const folder = await directory(path);
  if (folder) throw strangeFolder(path, folder.names);
  await (await fileSource(path)).close();
  const bytes = await firstBytes(path, 32);
  const stranger = STRANGERS.find(({ starts }) => starts.every((byte, i) => bytes[i] === byte));
  if (stranger) {
    throw new UnsupportedError(`${path} is no model file that can be read`, {
      kind: "foreign-file",
      where: path,
      why: `it looks like ${stranger.is}`,
      try: stranger.advice,
    });
  }
  throw new FileError(`${path} is no model file`, {
    kind: "not-a-model",
    where: path,
    why: `it is neither ${tried}; it starts with ${bytes.length === 0 ? "nothing: it is empty" : hex(bytes.subarray(0, 8))}`,
    try: "name a GGUF file, a safetensors file, or a folder with model.safetensors",
  });
}

function strangeFolder(path: string, names: readonly string[]): FileError {
  const gguf = names.find((name) => name.endsWith(".gguf"));
  const torch = names.find((name) => /\.(bin|pt|pth)$/.test(name));
  const advice = gguf ? `name the file: ${path}/${gguf}` : torch ? `convert ${torch} to safetensors` : undefined;
  return new FileError(`the folder ${path} holds no model that can be read`, {
    kind: "not-a-model",
    where: path,
    why: "there is no model.safetensors and no model.safetensors.index.json in it",
    try: advice ?? "name a folder with config.json and model.safetensors, or a GGUF file",
  });
}

const hex = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** Finds the container of `path` and opens it. */
export async function openWith(path: string, containers: readonly Container[]): Promise<Checkpoint> {
  return (await detectContainer(path, containers)).open(path);
}
