// The panels of a reel: curves, matrices, bars, arrows, graphs and words. Each is built once, laid out for its width, and then only moved.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = { solid: "", dash: "7 5", dot: "2 4", dashdot: "8 4 2 4" };
const MARGIN = { left: 52, right: 14, top: 10, bottom: 40 }; // CSS pixels around a chart

/** Make an element. */
function part(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number as a reader writes it: 3 × 10⁻⁸ and not 3e-8. */
function written(x, digits = 3) {
  if (!Number.isFinite(x)) return number(x);
  const text = number(x, digits);
  const [mantissa, power] = text.split("e");
  if (power === undefined) return text;
  const whole = String(Number(mantissa.replace("\u2212", "-"))).replace("-", "\u2212");
  return whole === "1" ? `10${raised(power)}` : `${whole} \u00d7 10${raised(power)}`;
}

/** A power as an exponent. */
function raised(power) {
  return [...String(power)].map((c) => (c === "\u2212" || c === "-" ? "\u207b" : "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[c])).join("");
}

function colourOf(index) {
  return index < 0 ? "var(--text)" : `var(--c${index})`;
}

/** The numbers of an array in a frame, and those of all frames. */
class Numbers {
  constructor({ offset, shape, moves }, floats) {
    this.shape = moves ? shape.slice(1) : shape;
    this.size = this.shape.reduce((a, b) => a * b, 1);
    this.all = floats.subarray(offset, offset + shape.reduce((a, b) => a * b, 1));
    this.stride = moves ? this.size : 0;
  }

  at(n) {
    return this.all.subarray(n * this.stride, n * this.stride + this.size);
  }
}

/** A tick: a power of ten by its exponent where it would be long. */
function ticked(v, { log }) {
  const power = Math.round(Math.log10(v));
  return log && Math.abs(power) > 3 ? `10${raised(power)}` : written(v);
}

/** An axis: where a number stands, and its ticks. */
class Axis {
  constructor(low, high, log, from, to) {
    Object.assign(this, { low, high, log, from, to });
    this.bend = log ? Math.log10 : (x) => x;
  }

  place(x) {
    if (!Number.isFinite(x) || (this.log && x <= 0)) return NaN;
    const [low, high] = [this.bend(this.low), this.bend(this.high)];
    return this.from + ((this.bend(x) - low) / (high - low || 1)) * (this.to - this.from);
  }

  ticks(most) {
    if (this.log) {
      const [low, high] = [Math.ceil(Math.log10(this.low) - 1e-9), Math.floor(Math.log10(this.high) + 1e-9)];
      const every = Math.max(1, Math.ceil((high - low + 1) / most));
      return Array.from({ length: Math.max(0, high - low + 1) }, (_, n) => low + n).filter((p) => p % every === 0).map((p) => 10 ** p);
    }
    const rough = (this.high - this.low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let n = Math.ceil(this.low / step - 1e-9); n * step <= this.high + 1e-9 * step; n++) found.push(n * step);
    return found;
  }
}

/** The least and the largest number that an axis has to show. */
function span(arrays, log) {
  let [low, high] = [Infinity, -Infinity];
  for (const array of arrays) {
    for (const x of array) {
      if (!Number.isFinite(x) || (log && x <= 0)) continue;
      if (x < low) low = x;
      if (x > high) high = x;
    }
  }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high) + (low === high ? 1e-9 : 0))];
  return [low, high === low ? low + 1 : high];
}

function legend(entries) {
  return part("div", { class: "legend" }, ...entries.map(({ name, colour, dash, filled }) => {
    const sign = filled
      ? part("svg:rect", { x: 6, y: 0, width: 12, height: 10, style: `fill:${colour}` })
      : part("svg:line", { x1: 0, y1: 5, x2: 26, y2: 5, style: `stroke:${colour};stroke-width:2.4;stroke-dasharray:${DASHES[dash] || "none"}` });
    return part("span", {}, part("svg:svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, sign), name);
  }));
}

/** The frame of a chart: its axes with ticks and titles. */
function axes(svg, x, y, width, high, { x_title, y_title, names }) {
  const { left, right, top, bottom } = MARGIN;
  for (const v of y.ticks(5)) {
    const at = y.place(v);
    svg.append(part("svg:line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
      part("svg:text", { class: "tick", x: left - 6, y: at + 4, "text-anchor": "end" }, ticked(v, y)));
  }
  for (const v of names ? [] : x.ticks(width < 420 ? 4 : 7)) {
    svg.append(part("svg:text", { class: "tick", x: x.place(v), y: high - bottom + 16, "text-anchor": "middle" }, ticked(v, x)));
  }
  svg.append(part("svg:line", { class: "axis", x1: left, x2: width - right, y1: high - bottom, y2: high - bottom }),
    part("svg:text", { x: (left + width - right) / 2, y: high - 6, "text-anchor": "middle" }, x_title ?? ""),
    part("svg:text", { x: 13, y: (high - bottom + top) / 2, "text-anchor": "middle", transform: `rotate(-90 13 ${(high - bottom + top) / 2})` }, y_title));
}

class CurvesPanel {
  constructor(panel, floats) {
    this.panel = panel;
    this.x = new Numbers(panel.x, floats);
    this.at = panel.at && new Numbers({ ...panel.at, moves: false }, floats);
    this.lines = panel.lines.map((line) => ({ ...line, numbers: new Numbers(line.y, floats) }));
    this.svg = part("svg:svg", { class: "chart", role: "img", "aria-label":
      `${panel.title}: ${panel.lines.map(({ name }) => name).join(", ")}; along ${panel.x_title}, up ${panel.y_title}` });
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title),
      legend(this.lines.map(({ name, colour, dash }) => ({ name, dash, colour: colourOf(colour) }))), this.svg);
  }

  layout({ width, high }) {
    const { panel, svg } = this;
    this.high = high;
    svg.setAttribute("width", width);
    svg.setAttribute("height", high);
    svg.replaceChildren();
    const [xLow, xHigh] = span([this.x.all], false);
    const [least, most] = span(this.lines.map(({ numbers }) => numbers.all), panel.log.includes("y"));
    this.xAxis = new Axis(xLow, xHigh, panel.log.includes("x"), MARGIN.left, width - MARGIN.right);
    const bottom = panel.bottom ?? (panel.log.includes("y") ? least : Math.min(least, 0));
    this.yAxis = new Axis(bottom, panel.top ?? most, panel.log.includes("y"), high - MARGIN.bottom, MARGIN.top);
    axes(svg, this.xAxis, this.yAxis, width, high, panel);
    const places = panel.places.map(([x, name]) => ({ name, at: this.xAxis.place(x), late: this.xAxis.place(x) > width * 0.7 }));
    for (const { at } of places) svg.append(part("svg:line", { class: "place", x1: at, x2: at, y1: MARGIN.top, y2: high - MARGIN.bottom }));
    this.mark = part("svg:line", { class: "mark", y1: MARGIN.top, y2: high - MARGIN.bottom });
    if (this.at) svg.append(this.mark);
    const deep = high - MARGIN.bottom - MARGIN.top + 4; // a line that leaves the chart ends at its edge, but for its own width
    const inner = part("svg:svg", { x: MARGIN.left, y: MARGIN.top - 2, width: width - MARGIN.left - MARGIN.right + 2, height: deep,
      viewBox: `${MARGIN.left} ${MARGIN.top - 2} ${width - MARGIN.left - MARGIN.right + 2} ${deep}` });
    svg.append(inner);
    this.drawn = this.lines.map(({ colour, dash }) => {
      const style = `stroke:${colourOf(colour)};stroke-dasharray:${DASHES[dash] || "none"}`;
      const line = part("svg:path", { class: "line", style });
      const dot = part("svg:circle", { class: "dot", r: 4.5, style: `fill:${colourOf(colour)}` });
      inner.append(line);
      svg.append(dot);
      return { line, dot };
    });
    for (const { name, at, late } of places) {
      svg.append(part("svg:text", { class: "over", x: at + (late ? -5 : 5), y: MARGIN.top + 10, "text-anchor": late ? "end" : "start" }, name));
    }
    this.done = new Set();
  }

  show(n) {
    const { high } = this;
    const x = this.x.at(0);
    const mark = this.at ? this.at.all[n] : NaN;
    const where = this.xAxis.place(mark);
    for (const name of Number.isNaN(where) ? [] : ["x1", "x2"]) this.mark.setAttribute(name, where);
    this.mark.style.display = Number.isNaN(where) ? "none" : "";
    const drawable = (y) => Math.min(Math.max(y, -high), 2 * high);
    const inside = (y) => y > MARGIN.top - 1 && y < high - MARGIN.bottom + 1;
    this.lines.forEach(({ numbers }, i) => {
      const y = numbers.at(n);
      const { line, dot } = this.drawn[i];
      if (numbers.stride || !this.done.has(i)) {
        let d = "";
        let pen = "M";
        for (let j = 0; j < x.length; j++) {
          const [px, py] = [this.xAxis.place(x[j]), this.yAxis.place(y[j])];
          if (Number.isNaN(px) || Number.isNaN(py)) { pen = "M"; continue; }
          d += `${pen}${px.toFixed(1)} ${drawable(py).toFixed(1)}`;
          pen = "L";
        }
        line.setAttribute("d", d);
        this.done.add(i);
      }
      const near = x.findIndex((v) => Math.abs(v - mark) < 1e-6 * Math.max(1, Math.abs(mark)));
      const py = near < 0 ? NaN : this.yAxis.place(y[near]);
      dot.style.display = inside(py) ? "" : "none";
      if (inside(py)) { dot.setAttribute("cx", where); dot.setAttribute("cy", py); }
    });
  }

  values(n) {
    return Object.fromEntries(this.lines.map(({ name, numbers }) => [name, [...numbers.at(n)]]));
  }
}

class MapsPanel {
  constructor(panel, floats, pointed) {
    this.panel = panel;
    this.pointed = pointed;
    this.maps = panel.maps.map(({ name, values }) => {
      const numbers = new Numbers(values, floats);
      const [rows, columns] = numbers.shape;
      const canvas = part("canvas", { role: "img", "aria-label": `${panel.title}: ${name}, ${rows} by ${columns}` });
      const spot = part("div", { class: "spot", hidden: "" });
      const frame = part("div", { class: "frame", tabindex: 0, role: "group", "aria-label": `${name}: arrow keys read its entries` }, canvas, spot);
      return { name, numbers, rows, columns, frame, spot, pixels: new Pixels(canvas, rows, columns) };
    });
    this.limit = panel.limit ?? this.maps.reduce((most, { numbers }) => numbers.all.reduce((a, x) => (Math.abs(x) > a && Math.abs(x) < Infinity ? Math.abs(x) : a), most), 0);
    this.about = part("p", { class: "about" }, `Rows: ${panel.rows}. Columns: ${panel.columns}. Blue is negative, orange positive, up to ${written(this.limit)}.`);
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title),
      part("div", { class: "maps" }, ...this.maps.map(({ name, frame }) => part("figure", { class: "map" }, part("figcaption", {}, name), frame))), this.about);
    this.maps.forEach((map) => {
      for (const type of ["pointermove", "pointerdown"]) map.frame.addEventListener(type, ({ clientX, clientY }) => {
        const { left, top, width, height } = map.frame.getBoundingClientRect();
        this.point(map, Math.floor(((clientY - top) / height) * map.rows), Math.floor(((clientX - left) / width) * map.columns));
      });
      map.frame.addEventListener("pointerleave", () => this.point(null));
      map.frame.addEventListener("blur", () => this.point(null));
      map.frame.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        if (!by) return;
        event.preventDefault();
        event.stopPropagation();
        const [i, j] = this.entry ?? [0, -by[1]];
        this.point(map, i + by[0], j + by[1]);
      });
    });
  }

  point(map, i, j) {
    this.entry = map && [Math.min(Math.max(i, 0), map.rows - 1), Math.min(Math.max(j, 0), map.columns - 1)];
    this.at = map;
    this.light();
  }

  light() {
    for (const { spot, rows, columns } of this.maps) {
      spot.hidden = !this.entry || this.entry[0] >= rows || this.entry[1] >= columns;
      if (spot.hidden) continue;
      const [i, j] = this.entry;
      Object.assign(spot.style, { left: `${(100 * j) / columns}%`, top: `${(100 * i) / rows}%`, width: `${100 / columns}%`, height: `${100 / rows}%` });
    }
    this.pointed.textContent = this.entry ? this.maps.filter(({ rows, columns }) => this.entry[0] < rows && this.entry[1] < columns)
      .map(({ name, numbers, columns }) => `${name}: ${written(numbers.at(this.n)[this.entry[0] * columns + this.entry[1]], 4)}`).join("; ")
      + ` (row ${this.entry[0]}, column ${this.entry[1]})` : "";
  }

  layout({ width, phone }) {
    const beside = this.maps.length < 4 ? Math.max(2, this.maps.length) : Math.ceil(this.maps.length / 2);
    const room = phone ? Math.min(150, (width - 10 * (beside - 1)) / beside) : width;
    for (const { frame, rows, columns } of this.maps) {
      const most = Math.min(this.panel.small, room);
      const cell = Math.max(1, Math.floor(most / Math.max(rows, columns)));
      frame.style.width = `${Math.min(cell * columns, width)}px`;
      frame.style.height = `${(Math.min(cell * columns, width) / columns) * rows}px`;
    }
  }

  recolour(colours) {
    this.colours = colours;
  }

  show(n) {
    this.n = n;
    for (const { numbers, pixels } of this.maps) pixels.draw(numbers.at(n), this.limit, this.colours.linear);
    if (this.entry) this.light();
  }

  values(n) {
    return Object.fromEntries(this.maps.map(({ name, numbers }) => [name, [...numbers.at(n)]]));
  }
}

class BarsPanel {
  constructor(panel, floats) {
    this.panel = panel;
    this.numbers = new Numbers(panel.values, floats);
    this.svg = part("svg:svg", { class: "chart", role: "img", "aria-label": `${panel.title}: ${panel.y_title} of ${panel.groups.join(", ")}` });
    const entries = panel.names.map((name, i) => ({ name, filled: true, colour: colourOf(i) }));
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title),
      ...(panel.names.length > 1 ? [legend(entries)] : []), this.svg);
  }

  layout({ width, high }) {
    const { panel, svg } = this;
    this.high = high;
    const { left, right, top, bottom } = MARGIN;
    svg.setAttribute("width", width);
    svg.setAttribute("height", high);
    svg.replaceChildren();
    const [least, most] = span([this.numbers.all, [0]], false);
    this.yAxis = new Axis(panel.bottom ?? least, panel.top ?? most, false, high - bottom, top);
    axes(svg, null, this.yAxis, width, high, { y_title: panel.y_title, names: true });
    const [groups, names] = this.numbers.shape;
    const room = (width - left - right) / groups;
    const thick = Math.min((room * 0.8) / names, 40);
    const every = Math.ceil((groups * 26) / (width - left - right));
    this.bars = [];
    panel.groups.forEach((group, g) => {
      const middle = left + room * (g + 0.5);
      if (g % every === 0 || groups <= 6) {
        const lines = wrapWords(group, Math.max(4, Math.floor(room / 6.4)));
        lines.slice(0, 2).forEach((line, n) => svg.append(part("svg:text", { class: "tick", x: middle, y: high - bottom + 15 + 13 * n, "text-anchor": "middle" }, line)));
      }
      for (let i = 0; i < names; i++) {
        const bar = part("svg:rect", { x: middle + (i - names / 2) * thick + 1, width: Math.max(1, thick - 2), style: `fill:${colourOf(names > 1 ? i : 0)}` });
        svg.append(bar);
        this.bars.push(bar);
      }
    });
    const zero = this.yAxis.place(0);
    if (zero > top && zero < high - bottom) svg.append(part("svg:line", { class: "axis", x1: left, x2: width - right, y1: zero, y2: zero }));
  }

  show(n) {
    const values = this.numbers.at(n);
    const zero = this.yAxis.place(0);
    this.bars.forEach((bar, i) => {
      const at = Number.isFinite(values[i]) ? Math.min(Math.max(this.yAxis.place(values[i]), MARGIN.top), this.high - MARGIN.bottom) : zero;
      bar.setAttribute("y", Math.min(at, zero));
      bar.setAttribute("height", Math.abs(at - zero));
    });
  }

  values(n) {
    return { [this.panel.title]: [...this.numbers.at(n)] };
  }
}

function wrapWords(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

const TURNS = [0, 40, -40, 80, -80, 120, -120, 180].map((degrees) => (degrees * Math.PI) / 180);

/** The place for a name at the tip of an arrow that least covers other names and arrows: [left, top, right, bottom]. */
function freest(name, [x, y], [dx, dy], side, taken, points) {
  const [w, h] = [3.3 * name.length + 3, 8];
  const boxes = TURNS.map((turn) => {
    const [ux, uy] = [dx * Math.cos(turn) - dy * Math.sin(turn), dx * Math.sin(turn) + dy * Math.cos(turn)];
    const cx = Math.min(Math.max(x + ux * (w + 7), w), side - w);
    const cy = Math.min(Math.max(y + uy * (h + 7), h), side - h);
    return [cx - w, cy - h, cx + w, cy + h];
  });
  const covered = boxes.map(([a, b, c, d], n) => n / 10
    + 20 * taken.filter(([e, f, g, i]) => a < g && e < c && b < i && f < d).length
    + points.filter(([px, py]) => a < px && px < c && b < py && py < d).length);
  return boxes[covered.indexOf(Math.min(...covered))];
}

class PlanePanel {
  constructor(panel, floats) {
    this.panel = panel;
    this.arrows = panel.arrows.map((arrow) => ({
      ...arrow, end: new Numbers(arrow.to, floats), begin: arrow.start && new Numbers(arrow.start, floats),
    }));
    this.paths = panel.paths.map((path) => ({ ...path, numbers: new Numbers(path.y, floats) }));
    this.svg = part("svg:svg", { class: "chart plane", role: "img", "aria-label": `${panel.title}: ${panel.arrows.map(({ name }) => name).join(", ")}` });
    const entries = this.paths.filter(({ name }) => name).map(({ name, colour, dash }) => ({ name, dash, colour: colourOf(colour) }));
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title), ...(entries.length ? [legend(entries)] : []), this.svg);
  }

  layout({ width, phone }) {
    const { svg, panel } = this;
    const side = Math.min(width, phone ? 240 : 360);
    svg.setAttribute("width", side);
    svg.setAttribute("height", side);
    svg.style.width = `${side}px`;
    svg.replaceChildren();
    this.xAxis = new Axis(-panel.limit, panel.limit, false, 8, side - 8);
    this.yAxis = new Axis(-panel.limit, panel.limit, false, side - 8, 8);
    const [x, y] = [this.xAxis.place(0), this.yAxis.place(0)];
    svg.append(part("svg:line", { class: "grid", x1: 8, x2: side - 8, y1: y, y2: y }), part("svg:line", { class: "grid", x1: x, x2: x, y1: 8, y2: side - 8 }));
    this.lines = this.paths.map(({ colour, dash }) => svg.appendChild(part("svg:path", { class: "line", style: `stroke:${colourOf(colour)};stroke-dasharray:${DASHES[dash] || "none"}` })));
    this.drawn = this.arrows.map(({ name, colour, dash }) => {
      const style = `stroke:${colourOf(colour)};stroke-dasharray:${DASHES[dash] || "none"}`;
      const line = part("svg:line", { class: "line", style });
      const head = part("svg:path", { style: `fill:${colourOf(colour)}` });
      svg.append(line, head);
      return { line, head };
    });
    this.labels = this.arrows.map(() => svg.appendChild(part("svg:text", { class: "over", "text-anchor": "middle" })));
  }

  show(n) {
    const point = (xy) => [this.xAxis.place(xy[0]), this.yAxis.place(xy[1])];
    const [points, tips] = [[], []]; // what names are to leave free
    this.paths.forEach(({ numbers }, i) => {
      const xy = numbers.at(n);
      let d = "";
      for (let j = 0; j < xy.length; j += 2) d += `${d ? "L" : "M"}${point(xy.subarray(j, j + 2)).map((v) => v.toFixed(1)).join(" ")}`;
      this.lines[i].setAttribute("d", d);
      for (let j = 2; j < xy.length; j += 2) {
        const [[x0, y0], [x1, y1]] = [point(xy.subarray(j - 2, j)), point(xy.subarray(j, j + 2))];
        const parts = Math.min(40, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / 12));
        for (let k = 0; k < parts; k++) points.push([x0 + (k / parts) * (x1 - x0), y0 + (k / parts) * (y1 - y0)]);
      }
    });
    this.arrows.forEach(({ name, begin, end }, i) => {
      const [x0, y0] = point(begin ? begin.at(n) : [0, 0]);
      const [x1, y1] = point(end.at(n));
      const { line, head } = this.drawn[i];
      const length = Math.hypot(x1 - x0, y1 - y0);
      const [dx, dy] = length ? [(x1 - x0) / length, (y1 - y0) / length] : [0, 0];
      for (const [name, value] of Object.entries({ x1: x0, y1: y0, x2: x1 - 6 * dx, y2: y1 - 6 * dy })) line.setAttribute(name, value);
      head.setAttribute("d", length < 3 ? "" : `M${x1} ${y1}L${x1 - 9 * dx + 4.5 * dy} ${y1 - 9 * dy - 4.5 * dx}L${x1 - 9 * dx - 4.5 * dy} ${y1 - 9 * dy + 4.5 * dx}Z`);
      for (let j = 0; j <= 16; j++) points.push([x0 + (j / 16) * (x1 - x0), y0 + (j / 16) * (y1 - y0)]);
      const same = tips.find(({ at }) => Math.hypot(at[0] - x1, at[1] - y1) < 3); // one label for all that end there
      if (same && name) same.name += `${same.name ? ", " : ""}${name}`;
      else if (name) tips.push({ name, at: [x1, y1], along: length ? [dx, dy] : [0, -1] });
    });
    const [side, taken] = [Number(this.svg.getAttribute("width")), []];
    this.labels.forEach((label, i) => {
      label.textContent = tips[i]?.name ?? "";
      if (!tips[i]) return;
      const box = freest(tips[i].name, tips[i].at, tips[i].along, side, taken, points);
      taken.push(box);
      label.setAttribute("x", (box[0] + box[2]) / 2);
      label.setAttribute("y", box[3] - 4);
    });
  }

  values(n) {
    return Object.fromEntries(this.arrows.map(({ name, end }) => [name, [...end.at(n)]]));
  }
}

const SIDE_ON = { high: 0.95, tilt: 0.6 }; // of a surface: its height, and how far it is seen from above

/** A surface over a square, which left and right turn, and so does a drag; a swipe up or down stays the page's. */
class SurfacePanel {
  constructor(panel, floats) {
    this.panel = panel;
    [this.x, this.y, this.heights] = ["x", "y", "heights"].map((name) => new Numbers({ ...panel[name], moves: false }, floats).all);
    this.way = new Numbers(panel.way, floats);
    this.most = this.heights.reduce((a, b) => Math.max(a, b), 0) || 1;
    this.turn = -0.5;
    this.svg = part("svg:svg", { class: "chart surface", role: "img", "aria-label": `${panel.title}: ${panel.names[2]} over ${panel.names[0]} and ${panel.names[1]}` });
    this.frame = part("div", { class: "turning", tabindex: 0, role: "group", "aria-label": `${panel.title}: left and right arrow keys turn it` }, this.svg);
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title), this.frame,
      part("p", { class: "about" }, `Orange: the step, ${panel.step}. Drag sideways, or press ← and →, to turn it.`));
    this.frame.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -0.15, ArrowRight: 0.15 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.turned(by);
    });
    this.frame.addEventListener("pointermove", ({ buttons, movementX }) => buttons && this.turned(movementX / 90));
  }

  turned(by) {
    this.turn += by;
    this.ground();
    this.show(this.n);
  }

  /** Where a point of the surface stands in the picture, and how far off it is. */
  seen(x, y, z) {
    const reach = this.x.at(-1);
    const [cos, sin, up] = [Math.cos(this.turn), Math.sin(this.turn), SIDE_ON.tilt];
    const [across, off] = [(x * cos - y * sin) / reach, (x * sin + y * cos) / reach];
    const height = off * up + (z / this.most) * SIDE_ON.high * Math.sqrt(1 - up * up);
    return [this.side / 2 + (across * this.side) / 3.1, this.deep - this.side * 0.31 - (height * this.side) / 3.1, off];
  }

  layout({ width, phone }) {
    this.side = Math.min(width, phone ? 260 : 380);
    this.deep = this.side * 0.8;
    Object.entries({ width: this.side, height: this.deep }).forEach(([name, value]) => this.svg.setAttribute(name, value));
    this.svg.style.width = `${this.side}px`;
    this.cells = [];
    for (let j = 1; j < this.y.length; j++) for (let i = 1; i < this.x.length; i++) this.cells.push([i, j]);
    this.faces = this.cells.map(() => part("svg:path", { class: "face" }));
    this.line = part("svg:path", { class: "line", style: `stroke:${colourOf(1)}` });
    this.ends = [0, 1].map((filled) => part("svg:circle", { r: 5, class: "dot", style: `fill:${filled ? colourOf(1) : "var(--text)"}` }));
    this.names = this.panel.names.map((name) => part("svg:text", { class: "over", "text-anchor": "middle" }, name));
    this.axes = [0, 1].map(() => part("svg:line", { class: "axis" }));
    this.svg.replaceChildren(...this.axes, ...this.faces, this.line, ...this.ends, ...this.names);
    this.ground();
  }

  /** Draw the surface, the farthest cells first. */
  ground() {
    const { x, y, heights, cells } = this;
    const points = Array.from(heights, (z, n) => this.seen(x[n % x.length], y[Math.floor(n / x.length)], z));
    const corners = cells.map(([i, j]) => [[i - 1, j - 1], [i, j - 1], [i, j], [i - 1, j]].map(([a, b]) => b * x.length + a));
    corners.sort((a, b) => Math.max(...b.map((n) => points[n][2])) - Math.max(...a.map((n) => points[n][2])));
    corners.forEach((four, n) => {
      const share = four.reduce((sum, at) => sum + heights[at], 0) / 4 / this.most;
      this.faces[n].setAttribute("d", `M${four.map((at) => points[at].slice(0, 2).map((v) => v.toFixed(1)).join(" ")).join("L")}Z`);
      this.faces[n].style.fill = `color-mix(in srgb, ${colourOf(0)} ${Math.round(10 + 60 * share)}%, var(--st-background-color))`;
    });
    const edge = x.at(-1) * 1.25;
    this.axes.forEach((axis, n) => {
      const [[x1, y1], [x2, y2]] = [-1, 1].map((end) => this.seen(n ? 0 : end * edge, n ? end * edge : 0, 0));
      Object.entries({ x1, y1, x2, y2 }).forEach(([name, value]) => axis.setAttribute(name, value));
    });
    const corner = [[1, 1], [1, -1], [-1, 1], [-1, -1]].map(([a, b]) => this.seen(a * x.at(-1), b * x.at(-1), this.most)).sort((a, b) => a[0] - b[0])[0];
    [this.seen(edge, 0, 0), this.seen(0, edge, 0), [Math.max(18, corner[0]), corner[1] - 8]].forEach(([px, py], n) => {
      this.names[n].setAttribute("x", Math.min(Math.max(px, 14), this.side - 14));
      this.names[n].setAttribute("y", Math.min(Math.max(py, 12), this.deep - 4));
    });
  }

  show(n) {
    this.n = n;
    const way = this.way.at(n);
    const points = Array.from({ length: way.length / 3 }, (_, m) => this.seen(...way.subarray(3 * m, 3 * m + 3)));
    this.line.setAttribute("d", `M${points.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L")}`);
    this.ends.forEach((dot, end) => { const [cx, cy] = points.at(-end); dot.setAttribute("cx", cx); dot.setAttribute("cy", cy); });
  }

  values(n) {
    return { way: [...this.way.at(n)] };
  }
}

const BOX = 42; // CSS pixels of the height of a node

class GraphPanel {
  constructor(panel, floats) {
    this.panel = panel;
    this.lit = new Numbers(panel.lit, floats);
    this.svg = part("svg:svg", { class: "chart graph", role: "group", "aria-label":
      `${panel.title}: ${panel.edges.map(({ start, end }) => `${panel.nodes[start].name} to ${panel.nodes[end].name}`).join(", ")}` });
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title),
      legend(panel.dashes.map(([dash, name]) => ({ name, dash, colour: colourOf(-1) }))), this.svg);
  }

  layout({ width, phone }) {
    const { svg, panel: { nodes, edges } } = this;
    const row = phone ? 56 : 62; // CSS pixels from one row to the next
    const [columns, rows] = [Math.max(...nodes.map(({ x }) => x)) + 1, Math.max(...nodes.map(({ y }) => y)) + 1];
    const room = width / columns;
    const box = Math.min(room - 8, 150);
    svg.setAttribute("width", width);
    svg.setAttribute("height", rows * row);
    svg.replaceChildren();
    const middle = ({ x, y }) => [(x + 0.5) * room, (y + 0.5) * row];
    this.edges = edges.map(({ start, end, dash }) => {
      const [[x0, y0], [x1, y1]] = [middle(nodes[start]), middle(nodes[end])];
      const [dx, dy] = [x1 - x0, y1 - y0];
      const short = Math.min(box / 2 / Math.abs(dx || 1e-9), BOX / 2 / Math.abs(dy || 1e-9)); // up to the edge of a box
      const [ax, ay, bx, by] = [x0 + dx * short, y0 + dy * short, x1 - dx * short, y1 - dy * short];
      const length = Math.hypot(bx - ax, by - ay) || 1;
      const [ux, uy] = [(bx - ax) / length, (by - ay) / length];
      const line = part("svg:line", { x1: ax, y1: ay, x2: bx - 6 * ux, y2: by - 6 * uy, style: `stroke-dasharray:${DASHES[dash] || "none"}` });
      const head = part("svg:path", { d: `M${bx} ${by}L${bx - 8 * ux + 4 * uy} ${by - 8 * uy - 4 * ux}L${bx - 8 * ux - 4 * uy} ${by - 8 * uy + 4 * ux}Z` });
      return svg.appendChild(part("svg:g", { class: "edge" }, line, head));
    });
    this.nodes = nodes.map((node) => {
      const [x, y] = middle(node);
      const lines = wrapWords(node.name, Math.max(6, Math.floor(box / 6.2)));
      const words = lines.map((line, n) => part("svg:text", { x, y: y + 4 + 13 * (n - (lines.length - 1) / 2), "text-anchor": "middle" }, line));
      const group = part(node.link ? "svg:a" : "svg:g", { class: "node" }, part("svg:rect", { x: x - box / 2, y: y - BOX / 2, width: box, height: BOX, rx: 6 }), ...words);
      if (node.link) { group.setAttribute("href", node.link); group.setAttribute("aria-label", `${node.name}: open it in the lab`); }
      return svg.appendChild(group);
    });
  }

  show(n) {
    const lit = this.lit.at(n)[0];
    const { start, end } = this.panel.edges[lit];
    this.edges.forEach((edge, i) => edge.classList.toggle("lit", i === lit));
    this.nodes.forEach((node, i) => node.classList.toggle("lit", i === start || i === end));
  }

  values(n) {
    return { lit: [...this.lit.at(n)] };
  }
}

/** A text whose words have the colour of their weights, once for each way to weigh them. */
class WordsPanel {
  constructor(panel, floats) {
    this.panel = panel;
    this.numbers = new Numbers(panel.values, floats);
    this.at = new Numbers({ ...panel.at, moves: false }, floats);
    this.limit = this.numbers.all.reduce((most, x) => (Math.abs(x) > most && Math.abs(x) < Infinity ? Math.abs(x) : most), 0);
    this.rows = panel.names.map((name) => ({ name, words: panel.words.map((word) => part("span", { class: "word" }, part("bdi", {}, word), part("small", {}))) }));
    this.element = part("figure", { class: "panel" }, part("p", { class: "title" }, panel.title),
      ...this.rows.map(({ name, words }) => part("figure", { class: "words" }, part("figcaption", {}, name), part("p", { dir: "auto" }, ...words))),
      part("p", { class: "about" }, `Orange is added, blue subtracted, up to ${written(this.limit)}; a weight below 0.005 is 0. ${panel.framed}`));
  }

  layout() {}

  recolour({ stops }) {
    this.ends = [stops[0], stops.at(-1)].map((colour) => `rgb(${colour.join(" ")})`);
  }

  show(n) {
    const weights = this.numbers.at(n);
    this.rows.forEach(({ words }, i) => words.forEach((word, j) => {
      const x = weights[i * words.length + j];
      const reached = Number.isFinite(x);
      word.classList.toggle("later", !reached);
      word.classList.toggle("asks", j === this.at.all[n]);
      word.lastChild.textContent = reached ? (Math.abs(x) < 0.005 ? "0" : x.toFixed(2).replace("-", "\u2212")) : "\u00a0";
      const share = reached ? Math.round((40 * Math.abs(x)) / (this.limit || 1)) : 0;
      word.style.background = share ? `color-mix(in srgb, ${this.ends[Number(x > 0)]} ${share}%, transparent)` : "";
    }));
  }

  values(n) {
    const words = this.panel.words.length;
    return Object.fromEntries(this.rows.map(({ name }, i) => [name, [...this.numbers.at(n).subarray(i * words, (i + 1) * words)]]));
  }
}

const PANELS = { Words: WordsPanel, Graph: GraphPanel, Curves: CurvesPanel, Maps: MapsPanel, Bars: BarsPanel, Plane: PlanePanel, Surface: SurfacePanel };
