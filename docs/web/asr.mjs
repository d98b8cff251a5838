// Greedy transcription with a model that `asr export` wrote. `ort` is onnxruntime-web or onnxruntime-node.

const LONGEST_SECONDS = 30; // The front end needs about 5 MB of memory per second of audio.

export class Recognizer {
  /** Load an exported model from the bytes of its file. Throws an Error for any other file. */
  static async load(ort, bytes) {
    const metadata = readMetadata(bytes);
    if (metadata.format !== "asr-onnx") throw new Error("not a file that asr export wrote");
    if (metadata.input !== "waveform") throw new Error(`the input is ${metadata.input}; export without options`);
    return new Recognizer(ort, await ort.InferenceSession.create(bytes), metadata);
  }

  constructor(ort, session, metadata) {
    this.ort = ort;
    this.session = session;
    this.alphabet = JSON.parse(metadata.alphabet);
    this.sampleRate = Number(metadata.sample_rate);
  }

  /** Return the text of a mono waveform, a Float32Array from -1 to 1 at `sampleRate`. */
  async transcribe(waveform, onProgress = () => {}) {
    const texts = [];
    let done = 0;
    for (const part of parts(waveform, this.sampleRate)) {
      texts.push(await this.#text(part));
      onProgress((done += part.length) / waveform.length);
    }
    return texts.join(" ").split(/\s+/).filter(Boolean).join(" ");
  }

  async #text(part) {
    const { Tensor } = this.ort;
    const { log_probs: logProbs, log_prob_lengths: lengths } = await this.session.run({
      // A copy, since a worker takes the memory over.
      waveform: new Tensor("float32", part.slice(), [1, part.length]),
      lengths: new Tensor("int64", BigInt64Array.of(BigInt(part.length)), [1]),
    });
    const size = this.alphabet.length;
    let text = "", previous = 0;
    for (let frame = 0; frame < Number(lengths.data[0]); frame++) {
      const row = logProbs.data.subarray(frame * size, (frame + 1) * size);
      const best = row.indexOf(Math.max(...row));
      if (best !== previous) text += this.alphabet[best]; // The character of blank, 0, is "".
      previous = best;
    }
    return text;
  }
}

/** Yield the parts of a waveform, cut where it is quietest so that none is longer than LONGEST_SECONDS. */
function* parts(waveform, rate) {
  const longest = LONGEST_SECONDS * rate, step = Math.round(rate / 50);
  let start = 0;
  while (waveform.length - start > longest) {
    let end = start + longest, least = Infinity;
    for (let middle = start + longest / 2; middle < start + longest; middle += step) {
      const energy = waveform.subarray(middle - 5 * step, middle + 5 * step).reduce((sum, x) => sum + x * x, 0);
      if (energy < least) [least, end] = [energy, middle];
    }
    yield waveform.subarray(start, end);
    start = end;
  }
  if (start < waveform.length) yield waveform.subarray(start);
}

/** Return the metadata_props of an ONNX file, field 14 of the protocol buffer, which ONNX Runtime does not show. */
function readMetadata(bytes) {
  const metadata = {}, decoder = new TextDecoder();
  for (const [field, content] of fields(bytes)) {
    if (field !== 14) continue;
    const { 1: key, 2: value } = Object.fromEntries(fields(content));
    metadata[decoder.decode(key)] = decoder.decode(value);
  }
  return metadata;
}

/** Yield the number and the bytes of each field with a length in a protocol buffer. */
function* fields(bytes) {
  let position = 0;
  const integer = () => {
    let value = 0, factor = 1, byte;
    do {
      byte = bytes[position++];
      value += (byte & 127) * factor;
      factor *= 128;
    } while (byte > 127);
    return value;
  };
  while (position < bytes.length) {
    const key = integer(), length = integer(), kind = key % 8;
    if (kind === 2) yield [Math.floor(key / 8), bytes.subarray(position, (position += length))];
    if ((kind !== 0 && kind !== 2) || position > bytes.length) throw new Error("not an ONNX file, or a truncated one");
  }
}
