// The answer of a memory in words: which stored values it is made of, and in which shares.

const MOST_NAMED = 3; // values in an answer
const LEAST_SHARE = 0.05; // a smaller one is not named

/**
 * Write the output of token t as a sum of values written so far, the best first: orthogonal matching pursuit.
 *
 * Source: Pati, Rezaiifar, Krishnaprasad 1993, Orthogonal matching pursuit. Each value counts once by its name, as it
 * was written last. A share is a coefficient's size, of unit values, over the sum of all; a turned sign stays.
 */
function shares({ wv, o, V }, t, values) {
  const target = Float64Array.from(o.subarray(t * V, (t + 1) * V));
  const size = length(target);
  if (!(size > 1e-6) || !Number.isFinite(size)) return [];
  const named = new Map();
  for (let s = 0; s <= t; s++) {
    const value = wv.subarray(s * V, (s + 1) * V);
    const norm = length(value);
    if (norm > 0 && Number.isFinite(norm)) named.set(values[s] ?? `token ${s}'s`, Float64Array.from(value, (x) => x / norm));
  }
  const chosen = []; // { name, basis, value }: the bases are orthonormal
  const rest = target.slice();
  while (chosen.length < MOST_NAMED && length(rest) > 0.02 * size) {
    let best = null;
    for (const [name, value] of named) {
      const x = Math.abs(dot(value, rest));
      if (!chosen.some((one) => one.name === name) && (!best || x > best.x)) best = { name, value, x };
    }
    if (!best || best.x < LEAST_SHARE * size) break;
    const basis = best.value.slice();
    for (const { basis: other } of chosen) subtract(basis, other, dot(basis, other));
    const norm = length(basis);
    if (norm < 1e-6) break;
    for (let v = 0; v < V; v++) basis[v] /= norm;
    chosen.push({ name: best.name, value: best.value, basis });
    subtract(rest, basis, dot(rest, basis));
  }
  // Back from the orthonormal bases to the values: a triangle to solve, from the last to the first.
  const found = [];
  const left = chosen.map(({ basis }) => dot(target, basis));
  for (let n = chosen.length - 1; n >= 0; n--) {
    const c = left[n] / dot(chosen[n].value, chosen[n].basis);
    for (let m = 0; m < n; m++) left[m] -= c * dot(chosen[n].value, chosen[m].basis);
    found.unshift({ name: chosen[n].name, c });
  }
  const sum = found.reduce((total, { c }) => total + Math.abs(c), 0) + length(rest);
  return found.map(({ name, c }) => ({ name, share: c / sum })).filter(({ share }) => Math.abs(share) >= LEAST_SHARE)
    .sort((a, b) => Math.abs(b.share) - Math.abs(a.share));
}

function answered(memory, t, values) {
  const found = shares(memory, t, values);
  if (!found.length) return "answers nothing";
  return `answers ${found.map(({ name, share }) => `${name} ${share.toFixed(2).replace("-", "\u2212")}`).join(", ")}`;
}

function dot(a, b) {
  let sum = 0;
  for (let n = 0; n < a.length; n++) sum += a[n] * b[n];
  return sum;
}

function length(a) {
  return Math.sqrt(dot(a, a));
}

function subtract(a, b, factor) {
  for (let n = 0; n < a.length; n++) a[n] -= factor * b[n];
}
