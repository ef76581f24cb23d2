// The numbers: what is in the buffer, and the memory at any token, replayed in the kernel's order.
//
// Math.fround rounds each operation to float32. Products and sums of two float32 numbers are rounded once more than
// in numpy, by the double in between, which cannot change the result: 53 bits are at least 2 * 24 + 2.

const fround = Math.fround;
const MAX_KEPT = 4 * 2 ** 20; // floats of states kept, 16 MB; beyond that every nth state, and the rest on demand

/** Read a buffer that app.player.payload.encode made, and what app.player.caption.behind put behind it. */
function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (start, end) => new TextDecoder().decode(bytes.subarray(start, end));
  const start = 4 + view.getUint32(0, true);
  const header = JSON.parse(text(4, start));
  const end = start + 4 * header.floats;
  const floats = new Float32Array(bytes.slice(start, end).buffer); // a copy, so that it is aligned
  const [token, visit, moving] = [0, 4, 8].map((n) => view.getInt32(end + n, true));
  return { header, floats, token, visit, moving: moving > 0, ...JSON.parse(text(end + 12)) };
}

/** One rule's memory at every token. */
class Memory {
  constructor(rule, { T, V, K }, floats, share) {
    const view = ({ offset, shape }) => floats.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
    const operand = ({ offset, shape: [t, v, k] }) => ({
      data: view({ offset, shape: [t, v, k] }),
      t: t > 1 ? v * k : 0, // strides: an axis of size 1 stands for all
      v: v > 1 ? k : 0,
      k: k > 1 ? 1 : 0,
    });
    const { arrays } = rule;
    Object.assign(this, { title: rule.title, slug: rule.slug, terms: rule.terms, decays: rule.decays, erases: rule.erases, T, V, K });
    this.decay = operand(arrays.decay);
    this.key = operand(arrays.k);
    for (const name of ["read", "u", "wv", "o"]) this[name] = view(arrays[name]);
    this.z = arrays.normaliser ? view(arrays.normaliser) : null;
    this.zPeak = this.z?.reduce(larger, 0);

    const size = V * K;
    this.every = Math.max(1, Math.ceil(((T + 1) * size) / share));
    this.kept = new Float32Array((Math.floor(T / this.every) + 1) * size);
    this.peaks = new Float32Array(T); // the largest finite |entry| of all moments of a token
    const state = arrays.initial ? view(arrays.initial).slice() : new Float32Array(size);
    this.kept.set(state);
    this.ends = state.reduce((most, x) => Math.max(most, Math.abs(x)), 0); // the largest |entry| so far
    for (let t = 0; t < T; t++) {
      this.peaks[t] = Math.max(this.ends, this.advance(state, t));
      if ((t + 1) % this.every === 0) this.kept.set(state, ((t + 1) / this.every) * size);
    }
    this.overflows = this.peaks.some((peak) => !Number.isFinite(peak));
    this.maps = Object.fromEntries(MOMENTS.map(({ name }) => [name, new Float32Array(size)]));
    this.held = new Float32Array(this.every * size); // states from token `first` to token `reached`, between two kept
    this.first = this.reached = null;
    this.at = null;
    this.filled = null;
    for (let t = 0; t < T; t++) {
      if (Number.isFinite(this.peaks[t])) continue;
      this.seek(t);
      this.fill();
      this.peaks[t] = Object.values(this.maps).reduce((peak, map) => map.reduce(larger, peak), 0);
    }
    this.peak = this.peaks.reduce(larger, 0);
  }

  /** Let token t act on the state, in place, and return the largest |entry| on the way but before; NaN if one is.
   *
   * What a decay leaves is not larger than what was there, and where nothing is taken away nothing is erased.
   */
  advance(state, t) {
    const { V, K, decay, key, read, u, wv } = this;
    const keys = key.data;
    const decays = decay.data;
    const wide = decay.k !== 0 || decay.v !== 0;
    let peak = 0;
    let ends = 0; // the largest |entry| of the memory after the token
    let longest = 0; // of the key
    for (let v = 0, n = 0; v < V; v++) {
      const r = read[t * V + v];
      const e = u[t * V + v];
      const end = n + K;
      let a = t * decay.t + v * decay.v;
      let k = t * key.t + v * key.v;
      if (v === 0 || key.v !== 0) {
        longest = 0;
        for (let j = k; j < k + K; j++) longest = Math.max(longest, Math.abs(keys[j]));
      }
      if (wide) {
        for (; n < end; n++, a += decay.k, k++) {
          const x = keys[k];
          const decayed = fround(decays[a] * state[n]);
          const written = fround(decayed + fround(e * x));
          state[n] = written;
          peak = Math.max(peak, Math.abs(decayed - fround(r * x)));
          ends = Math.max(ends, Math.abs(written));
        }
      } else {
        const alpha = decays[a];
        for (; n < end; n++, k++) {
          const x = keys[k];
          const decayed = fround(alpha * state[n]);
          const written = fround(decayed + fround(e * x));
          state[n] = written;
          peak = Math.max(peak, Math.abs(decayed - fround(r * x)));
          ends = Math.max(ends, Math.abs(written));
        }
      }
      peak = Math.max(peak, Math.abs(r) * longest, Math.abs(wv[t * V + v]) * longest); // rank one
    }
    this.ends = ends;
    return Math.max(peak, ends);
  }

  /** Write the memory before token t into `state`; t = T gives the last one.
   *
   * What was replayed on the way from the nearest state that is kept is held, so that stepping back replays it once.
   */
  restore(state, t) {
    const size = this.V * this.K;
    const at = (s) => (s - this.first) * size;
    const nearest = Math.floor(t / this.every);
    if (this.first !== nearest * this.every) {
      this.first = this.reached = nearest * this.every;
      this.held.set(this.kept.subarray(nearest * size, (nearest + 1) * size));
    }
    for (; this.reached < t; this.reached++) {
      this.held.copyWithin(at(this.reached + 1), at(this.reached), at(this.reached + 1));
      this.advance(this.held.subarray(at(this.reached + 1), at(this.reached + 2)), this.reached);
    }
    state.set(this.held.subarray(at(t), at(t + 1)));
  }

  /** Go to token t: the memory before and after it stands in `maps`, and what is between them once it is filled. */
  seek(t) {
    if (t === this.at) return;
    const { before, written } = this.maps;
    if (this.at !== null && t === this.at - 1) {
      written.set(before);
      this.restore(before, t);
    } else {
      if (this.at !== null && t === this.at + 1) before.set(written);
      else this.restore(before, t);
      written.set(before);
      this.advance(written, t);
    }
    this.at = t;
  }

  /** One moment of the token. */
  moment(name) {
    if (name !== "before" && name !== "written") this.fill();
    return this.maps[name];
  }

  /** Fill `maps` with every moment of the token. */
  fill() {
    const { V, K, decay, key, read, wv, at: t } = this;
    if (this.filled === t) return;
    const { before, decayed, taken, erased, added } = this.maps;
    for (let v = 0, n = 0; v < V; v++) {
      const r = read[t * V + v];
      const w = wv[t * V + v];
      let a = t * decay.t + v * decay.v;
      let k = t * key.t + v * key.v;
      for (let j = 0; j < K; j++, n++, a += decay.k, k += key.k) {
        const d = fround(decay.data[a] * before[n]);
        const x = key.data[k];
        decayed[n] = d;
        taken[n] = r * x;
        erased[n] = d - taken[n];
        added[n] = w * x;
      }
    }
    this.filled = t;
  }

  /** The least and the largest decay of token t. */
  decayRange(t) {
    const { data, t: stride } = this.decay;
    let [low, high] = [Infinity, -Infinity];
    const end = stride ? (t + 1) * stride : data.length;
    for (let n = t * stride; n < end; n++) {
      if (data[n] < low) low = data[n];
      if (data[n] > high) high = data[n];
    }
    return [low, high];
  }

  /** The Euclidean length of a vector of token t, or of the written memory. */
  norm(name) {
    const { at: t, V } = this;
    const values = name === "S" ? this.maps.written : this[name].subarray(t * V, (t + 1) * V);
    let sum = 0;
    for (const x of values) sum += x * x;
    return Math.sqrt(sum);
  }
}

// Where `term` is named, the moment is that term of the rule's equation.
const MOMENTS = [
  { name: "before", sign: "", of: "S before the token" },
  { name: "decayed", sign: "", term: "decay" },
  { name: "taken", sign: "\u2212", term: "erase" },
  { name: "erased", sign: "=", of: "decayed \u2212 taken" },
  { name: "added", sign: "+", term: "write" },
  { name: "written", sign: "=", of: "erased + added" },
];

/** The term of a rule's equation that a moment is, "" for none. */
function termOf({ terms }, moment) {
  return terms[MOMENTS.find(({ name }) => name === moment).term] ?? "";
}

/** The larger of a peak and |x|, unless x is not finite. */
function larger(peak, x) {
  const size = x < 0 ? -x : x;
  return size > peak && size < Infinity ? size : peak;
}
