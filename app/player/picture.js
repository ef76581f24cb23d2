// Colours and pixels: the diverging scale, a matrix as pixels, and the whole picture as a PNG.

const STEPS = 8192; // of the colour scale, from the most negative to the most positive
const NOT_A_NUMBER = STEPS + 1;

/** The page's colours, read anew when the theme changes. */
class Colours {
  constructor(root) {
    const style = getComputedStyle(root);
    const list = (name) => style.getPropertyValue(name).split(",").map((colour) => colour.trim());
    this.text = style.color;
    this.background = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
    this.border = style.getPropertyValue("--st-border-color").trim() || "#8888";
    this.font = style.fontFamily;
    this.rules = list("--st-chart-categorical-colors");
    const diverging = list("--st-chart-diverging-colors");
    const half = diverging.length / 2;
    this.stops = [...diverging.slice(0, half), this.background, ...diverging.slice(half)].map(rgb);
    this.linear = this.table((x) => x);
    this.root = this.table((x) => Math.sign(x) * Math.sqrt(Math.abs(x)));
  }

  /** One packed pixel for each step of a scale that bends -1 to 1, and a transparent one for what is not a number. */
  table(bend) {
    const table = new Uint32Array(STEPS + 2);
    const pixel = new Uint8ClampedArray(table.buffer);
    const last = this.stops.length - 1;
    for (let i = 0; i <= STEPS; i++) {
      const place = ((bend((2 * i) / STEPS - 1) + 1) / 2) * last;
      const below = Math.min(Math.floor(place), last - 1);
      for (let c = 0; c < 3; c++) {
        const [from, to] = [this.stops[below][c], this.stops[below + 1][c]];
        pixel[4 * i + c] = from + (to - from) * (place - below);
      }
      pixel[4 * i + 3] = 255;
    }
    return table;
  }
}

/** A CSS colour as [red, green, blue], each from 0 to 255. */
function rgb(colour) {
  const context = (rgb.context ??= new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true }));
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.subarray(0, 3)];
}

/** A canvas that shows a matrix, or a part of it: a pixel for each entry, or fewer where fewer have room. */
class Pixels {
  constructor(canvas, rows, columns) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.whole = { i: 0, j: 0, rows, columns };
  }

  /** Make room for so many pixels. */
  size(rows, columns) {
    const { canvas, image } = this;
    if (image?.width === columns && image.height === rows) return;
    canvas.width = columns;
    canvas.height = rows;
    this.image = this.context.createImageData(columns, rows);
    this.packed = new Uint32Array(this.image.data.buffer);
    this.strongest = new Float32Array(columns);
  }

  /** Draw a part of the matrix on a scale from -limit to limit, in at most so many rows and columns of pixels.
   *
   * A pixel of several entries has the colour of the one of largest magnitude, so that no entry that stands out is lost.
   */
  draw(values, limit, table, part = this.whole, [most, widest] = [Infinity, Infinity]) {
    const [rows, columns] = [Math.min(part.rows, most), Math.min(part.columns, widest)];
    this.size(rows, columns);
    const { packed } = this;
    const factor = STEPS / 2 / (limit || 1);
    const middle = STEPS / 2 + 0.5;
    const colour = (x) => {
      const place = x * factor + middle;
      return table[place >= 0 ? (place < STEPS ? place | 0 : STEPS) : place < 0 ? 0 : NOT_A_NUMBER];
    };
    const width = this.whole.columns;
    let n = 0;
    if (rows === part.rows && columns === part.columns) {
      for (let i = part.i; i < part.i + rows; i++) {
        for (let at = i * width + part.j, end = at + columns; at < end; at++) packed[n++] = colour(values[at]);
      }
    } else {
      const { strongest } = this;
      const places = Uint32Array.from({ length: part.columns }, (_, j) => Math.floor((j * columns) / part.columns));
      for (let row = 0, i = 0; row < rows; row++) {
        strongest.fill(0);
        for (; i < Math.ceil(((row + 1) * part.rows) / rows); i++) {
          for (let j = 0, at = (part.i + i) * width + part.j; j < part.columns; j++, at++) {
            const x = values[at];
            const p = places[j];
            const before = strongest[p];
            // What is not a number stays.
            if (before === before && !((x < 0 ? -x : x) <= (before < 0 ? -before : before))) strongest[p] = x;
          }
        }
        for (let p = 0; p < columns; p++) packed[n++] = colour(strongest[p]);
      }
    }
    this.context.putImageData(this.image, 0, 0);
  }
}

/** How many times as wide, or as high, a cell is drawn, so that a long thin memory is not a line: [across, down]. */
function stretch(V, K) {
  const times = (long, short) => Math.min(Math.max(Math.floor(long / short / 2), 1), 4);
  return [times(V, K), times(K, V)];
}

/** Four significant digits, with a proper minus sign. */
function number(x, digits = 4) {
  if (Number.isNaN(x)) return "\u2014";
  if (!Number.isFinite(x)) return x > 0 ? "\u221e" : "\u2212\u221e";
  const size = Math.abs(x);
  const plain = size === 0 || (size >= 1e-4 && size < 1e6);
  const text = plain ? String(Number(size.toPrecision(digits))) : size.toExponential(digits - 1).replace("e+", "e");
  return (x < 0 ? "\u2212" : "") + text.replace("e-", "e\u2212");
}

/** Break a text into lines that have room, at spaces where there are any. */
function wrapped(context, text, room) {
  const lines = [""];
  const fits = (more) => context.measureText(lines.at(-1) + more).width <= room;
  for (const word of text.split(/(?<= )/)) {
    if (lines.at(-1) && !fits(word.trimEnd())) lines.push("");
    for (const part of fits(word.trimEnd()) ? [word] : word) {
      if (lines.at(-1) && !fits(part)) lines.push("");
      lines[lines.length - 1] += part;
    }
  }
  return lines;
}

/** Compose what the player shows at twice its size, with its title, its rules in words and the link that opens it. */
function picture({ memories, V, K, T, t, label, limits, ends, own, bend, unit, view, colours, numbers, caption }) {
  const [column, high, low] = memories.length === 1 ? [556, 520, 260] : [272, 340, 150];
  const gap = 28;
  const margin = 32;
  const [across, down] = stretch(V, K);
  const fit = (width, height) => {
    const exact = Math.min(width / (K * across), height / (V * down));
    const cell = exact >= 1 ? Math.floor(2 * exact) / 2 : exact;
    return [cell * K * across, cell * V * down];
  };
  const [bigWidth, bigHeight] = fit(column, high);
  const [smallWidth, smallHeight] = fit((column - 32) / 3, low);
  const width = 2 * margin + memories.length * column + (memories.length - 1) * gap;
  const top = 84;
  const strip = memories.some(({ z }) => z) ? 30 : 0;
  const below = top + 44 + bigHeight + 30 + strip;
  const figures = below + 2 * (smallHeight + 26) + 32;

  const canvas = document.createElement("canvas");
  const c = canvas.getContext("2d");
  const broken = (text, room, size, weight = 400) => {
    c.font = `${weight} ${size}px ${colours.font}`;
    return text ? wrapped(c, text, room) : [];
  };
  const title = broken(caption.title, width - 2 * margin, 18, 600);
  const words = caption.rules.map(({ equation, gates }) => [...broken(equation, column, 12), ...broken(gates, column, 12)]);
  const link = caption.link && `${caption.link}&t=${t}`;
  const foot = [...caption.notes, link].flatMap((text) => broken(text, width - 2 * margin, 11));
  const above = 26 * title.length; // the title stands above the rest
  const ruled = 17 * Math.max(0, ...words.map(({ length }) => length)); // below each rule's numbers
  const bottom = figures + ruled + 44; // of the rest
  const height = above + bottom + 15 * foot.length + 24;
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  c.scale(2, 2);
  c.imageSmoothingEnabled = false;
  c.fillStyle = colours.background;
  c.fillRect(0, 0, width, height);

  const write = (text, x, y, { size = 12, weight = 400, align = "left", alpha = 1, room } = {}) => {
    c.font = `${weight} ${size}px ${colours.font}`;
    c.textAlign = align;
    c.globalAlpha = alpha;
    c.fillStyle = colours.text;
    c.fillText(text, x, y, room);
    c.globalAlpha = 1;
  };
  const matrix = (values, x, y, w, h, end, rows = V) => {
    const source = document.createElement("canvas");
    new Pixels(source, rows, K).draw(values, end, colours[bend], rows === V ? view : view.row, [2 * h, 2 * w].map(Math.floor));
    c.drawImage(source, x, y, w, h);
    c.strokeStyle = colours.border;
    c.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
  };

  title.forEach((line, n) => write(line, margin, 42 + 26 * n, { size: 18, weight: 600 }));
  c.translate(0, above);
  write(`t = ${t}`, margin, 46, { size: 20, weight: 600 });
  write(`of 0 to ${T - 1}`, margin + 78, 46, { size: 13, alpha: 0.65 });
  write(label, margin, 66, { size: 14, room: width - 2 * margin - 300 });
  const bar = { x: width - margin - 260, y: 40, width: 260, height: 10 };
  const scale = document.createElement("canvas");
  new Pixels(scale, 1, 257).draw(steps(), 1, colours.linear);
  c.drawImage(scale, bar.x, bar.y, bar.width, bar.height);
  c.strokeStyle = colours.border;
  c.strokeRect(bar.x - 0.5, bar.y - 0.5, bar.width + 1, bar.height + 1);
  ends.forEach((text, n) => {
    write(text, bar.x + (n / 4) * bar.width, bar.y + 24, { size: 11, align: ["left", "center", "center", "center", "right"][n] });
  });
  write(`${unit}; ${bend === "root" ? "square-root" : "linear"} colours`, bar.x + bar.width, bar.y - 6, { size: 10.5, align: "right", alpha: 0.65 });

  memories.forEach((memory, r) => {
    const x = margin + r * (column + gap);
    c.fillStyle = colours.rules[r % colours.rules.length];
    c.fillRect(x, top + 8, 10, 10);
    write(memory.title, x + 17, top + 18, { size: 15, weight: 600, room: column - 17 });
    matrix(memory.moment("written"), x, top + 34, bigWidth, bigHeight, limits[r]);
    const scaled = own[r] ? `   own scale \u00b1${number(limits[r], 2)}` : "";
    write(`S\u209c   \u2193 value channel   \u2192 key channel${scaled}`, x, top + 34 + bigHeight + 17, { size: 11, alpha: 0.65, room: column });
    if (memory.z) {
      matrix(memory.z.subarray((t + 1) * K, (t + 2) * K), x, top + 34 + bigHeight + 26, bigWidth, 8, memory.zPeak, 1);
      write(`normaliser z, own scale \u00b1${number(memory.zPeak, 3)}`, x, top + 34 + bigHeight + 46, { size: 10.5, alpha: 0.65 });
    }
    MOMENTS.forEach(({ name, sign }) => {
      const stage = STAGES.findIndex(({ parts }) => parts.includes(name));
      const left = x + stage * ((column - 32) / 3 + 16);
      const y = below + STAGES[stage].parts.indexOf(name) * (smallHeight + 26);
      matrix(memory.moment(name), left, y + 12, smallWidth, smallHeight, limits[r]);
      write([sign, name, termOf(memory, name)].filter(Boolean).join(" "), left, y + smallHeight + 26, { size: 11, room: (column - 32) / 3 + 10 });
    });
    write(numbers(memory).join("   "), x, figures, { size: 12, room: column });
    words[r]?.forEach((line, n) => write(line, x, figures + 20 + 17 * n));
  });
  const part = view.isWhole ? "" : `;  of the memory: ${view.said}`;
  write(`decayed \u2212 taken = erased,  erased + added = written${part}`, margin, bottom, {
    size: 11,
    alpha: 0.65,
  });
  foot.forEach((line, n) => write(line, margin, bottom + 20 + 15 * n, { size: 11 }));
  return canvas;
}

/** The values at the five ticks of the colour bar, evenly spaced in colour. */
function ticks(limit, bend) {
  const half = bend === "root" ? limit / 4 : limit / 2;
  return [-limit, -half, 0, half, limit];
}

/** The colour bar as a matrix of one row. */
function steps() {
  return Float32Array.from({ length: 257 }, (_, i) => i / 128 - 1);
}
