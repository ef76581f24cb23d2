// The cards, one a rule: its maps, its gates and its numbers.

const STAGES = [
  { name: "decay", parts: ["decayed", "before"] },
  { name: "erase", parts: ["taken", "erased"] },
  { name: "write", parts: ["added", "written"] },
]; // first the term of the equation: the three make up the memory
const BIG = { alone: 400, beside: 330, least: 160, part: 0.24 }; // CSS pixels that a memory is high; part of a window
const BRIEF = { part: 0.17, many: 0.14, small: 0.085 }; // the same in a lesson; of more than two rules on a phone; of stages
const FEW = 48; // rows
const SMALL_CELL = 5; // CSS pixels
const SMALL = { most: 170, least: 60, part: 0.11 };
const NUMBERS = { S: "|S|", u: "|u|", o: "|o|" }; // Euclidean lengths, of all entries of S for a memory
/** Make an element. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Say what a map shows at a token. */
function described(memory, name, moment, t) {
  if (name === "z") return `${memory.title}: the normaliser z, the sum of its keys after token ${t}`;
  const shown = name === "large" ? moment : name;
  const { of } = MOMENTS.find((one) => one.name === shown);
  const is = of ?? (termOf(memory, shown) || "nothing, this rule has no such stage");
  return `${memory.title}, ${shown} at token ${t}: ${is}; ${strongest(memory.moment(shown), memory.K)}`;
}

/** Say where the largest entry of a matrix stands. */
function strongest(values, K) {
  let most = 0;
  for (let n = 1; n < values.length; n++) if (Math.abs(values[n]) > Math.abs(values[most])) most = n;
  if (!values[most]) return "all entries 0";
  return `largest entry ${number(values[most], 2)} at value channel ${Math.floor(most / K)}, key channel ${most % K}`;
}

class Cards {
  constructor(memories, { V, K, view }) {
    Object.assign(this, { V, K, view, memories, maps: [] });
    this.cards = memories.map((memory, r) => this.card(memory, r));
    this.elements = this.cards.map(({ card }) => card);
  }

  card(memory, r) {
    const axis = (name) =>
      make("div", { class: `${name}-axis`, "aria-hidden": "true" },
        make("span", { class: "from" }), make("span", { class: "name" }, `${name} channel`), make("span", { class: "to" }));
    const heading = make("p", { class: "large-name" });
    const large = make("div", { class: "large" }, axis("value"), this.map(r, "large"), axis("key"));
    const zScale = make("p", { class: "z-scale" });
    if (memory.z) large.append(make("div", { class: "z-name", "aria-hidden": "true" }, "z"), this.map(r, "z"), zScale);
    else if (this.memories.some(({ z }) => z)) large.append(make("div", { class: "z-none" })); // keeps the rows in line

    const gates = {};
    const stages = STAGES.map(({ name, parts }) => {
      gates[name] = make("span", { class: "gate" });
      const heading = make("p", { class: "stage-name" }, word(name), gates[name]);
      return make("div", { class: "stage", "data-stage": name }, heading, ...parts.map((moment) => this.part(r, moment)));
    });
    const numbers = Object.keys(NUMBERS).map((name) => {
      const value = make("span", { "data-number": name });
      return { name, value, line: make("span", {}, word(name), " ", value) };
    });
    const figures = make("p", { class: "numbers" }, ...numbers.map(({ line }) => line));
    const answer = make("p", { class: "answer", "data-word": "answer" });
    const maps = make("div", {
      class: "maps", tabindex: 0, role: "application", "data-r": r, "aria-roledescription": "memory maps",
      "aria-label": `${memory.title}: arrow keys read its entries, M goes to the next map, plus and minus zoom`,
    }, make("div", {}, heading, large), make("div", { class: "moments" }, ...stages));
    const card = make("article", { class: "rule", "data-rule": memory.slug },
      make("h2", {}, make("i", { class: "chip" }), make("span", {}, memory.title)),
      this.equation(memory),
      answer,
      figures,
      maps);
    return { card, heading, zScale, gates, numbers, answer };
  }

  /** What a token does to the memory, each term in a box of its own: it lights up with its map, and its map with it. */
  equation({ terms }) {
    const term = (stage, sign) => (terms[stage]
      ? [sign, make("span", { class: "term", "data-stage": stage }, terms[stage])]
      : []);
    return make("p", { class: "equation" }, "S \u2190 ", ...term("decay", ""), ...term("erase", " \u2212 "), ...term("write", " + "));
  }

  /** Light up a stage, in the equations and among the maps; none where it is undefined. */
  light(stage) {
    for (const card of this.elements) {
      for (const part of card.querySelectorAll("[data-stage]")) part.classList.toggle("lit", part.dataset.stage === stage);
    }
  }

  /** One matrix on the page: `name` is a moment, "large" or "z". */
  map(r, name) {
    const rows = name === "z" ? 1 : this.V;
    const what = { large: "the memory", z: "the normaliser z" }[name] ?? name;
    const canvas = make("canvas", {
      role: "img", "aria-label": `${this.memories[r].title}, ${what}`, // until it is said what it shows
    });
    const spot = make("div", { class: "spot" });
    const frame = make("div", { class: "frame", "data-r": r, "data-map": name }, canvas, make("div", { class: "mesh" }), spot);
    this.maps.push({ r, name, rows, frame, spot, pixels: new Pixels(canvas, rows, this.K) });
    return make("div", { class: "slot" }, frame);
  }

  part(r, moment) {
    const { sign } = MOMENTS.find(({ name }) => name === moment);
    const caption = make("button", { type: "button", tabindex: -1, class: "enlarge", title: `Show what is ${moment} large` });
    caption.append(make("b", {}, sign), ` ${moment}`);
    return make("figure", { class: "part", "data-moment": moment }, this.map(r, moment), make("figcaption", {}, caption));
  }

  /** Give each rule its colour. */
  colour(colours) {
    this.elements.forEach((card, r) => card.style.setProperty("--chip", colours.rules[r % colours.rules.length]));
  }

  /** Give every map whole device pixels for each cell, where there are enough. */
  layout() {
    const ratio = window.devicePixelRatio || 1;
    const [across, down] = stretch(this.V, this.K);
    const rooms = this.maps.map(({ frame }) => frame.parentElement.clientWidth); // read first, then write
    const few = this.V * down <= FEW; // a small memory leaves room in the window for its stages
    const most = this.cards.length === 1 ? BIG.alone : BIG.beside;
    const brief = this.elements[0].closest(".brief");
    const phone = window.innerWidth < NARROW;
    const part = !brief || (phone && this.cards.length < 3) ? BIG.part : phone ? BRIEF.many : BRIEF.part;
    const big = few ? Math.min(most, Math.max(brief ? 0 : BIG.least, part * window.innerHeight)) : most;
    const small = few ? Math.min(SMALL.most, Math.max(SMALL.least, (brief ? BRIEF.small : SMALL.part) * window.innerHeight)) : SMALL.most;
    this.maps.forEach((map, n) => {
      const { name, frame, rows } = map;
      if (!rooms[n]) return;
      const high = name !== "large" && name !== "z" ? small : big;
      const exact = Math.min((rooms[n] * ratio) / (this.K * across), (high * ratio) / (this.V * down));
      const cell = (exact >= 1 ? Math.floor(exact) : exact) / ratio;
      const [width, height] = [cell * across * this.K, cell * down * rows];
      frame.style.width = `${width}px`;
      frame.style.height = name === "z" ? "" : `${height}px`;
      map.pixels.room = [name === "z" ? 1 : height, width].map((size) => Math.max(1, Math.floor(size * ratio)));
      Object.assign(map, { width, height });
      if (name !== "large") return;
      const large = frame.closest(".large");
      large.style.setProperty("--width", frame.style.width);
      large.classList.toggle("narrow", width < 110);
      large.classList.toggle("low", height < 96);
    });
    this.look();
  }

  /** Bring axes and meshes up to date with the part that is shown. */
  look() {
    const { i, j, rows, columns } = this.view;
    for (const { name, frame, width, height } of this.maps) {
      if (!width || name === "z") continue;
      const [wide, high] = [width / columns, height / rows];
      frame.style.setProperty("--cell", `${wide}px ${high}px`);
      frame.classList.toggle("meshed", Math.min(wide, high) >= 7);
    }
    for (const card of this.elements) {
      for (const [axis, first, count] of [["value", i, rows], ["key", j, columns]]) {
        card.querySelector(`.${axis}-axis .from`).textContent = first;
        card.querySelector(`.${axis}-axis .to`).textContent = first + count - 1;
      }
    }
  }

  /** A cell of the large maps is so small, in CSS pixels, that zooming in shows more. */
  get small() {
    return this.maps.some(({ name, width }) => name === "large" && width && width / this.K < SMALL_CELL);
  }

  /** Draw token t, each memory on a scale from -limit to limit: the large maps with this moment, or the small ones.
   *
   * `only` is a rule by its place; without one, all are drawn.
   */
  draw(t, moment, limits, table, small, only) {
    for (const { r, name, pixels } of this.maps) {
      if (small !== (name !== "large" && name !== "z") || (only !== undefined && only !== r)) continue;
      const memory = this.memories[r];
      const { z, zPeak } = memory;
      if (name === "z") pixels.draw(z.subarray((t + 1) * this.K, (t + 2) * this.K), zPeak, table, this.view.row, pixels.room);
      else pixels.draw(memory.moment(small ? name : moment), limits[r], table, this.view, pixels.room);
    }
  }

  /** Bring the words and numbers up to date. */
  say(t, moment, scales) {
    this.memories.forEach((memory, r) => {
      const { card, heading, zScale, gates, numbers } = this.cards[r];
      const what = moment === "written" ? `S after token ${t}` : `${moment}, token ${t}`;
      heading.textContent = [what, scales[r]].filter(Boolean).join(" \u00b7 ");
      const [least, most] = memory.decayRange(t);
      const decay = least === most ? number(most, 3) : `${number(least, 2)}\u2026${number(most, 2)}`;
      for (const { name } of STAGES) gates[name].textContent = memory.terms[name] || "none";
      if (memory.decays) gates.decay.textContent += ` \u00b7 ${decay}`;
      if (memory.z) zScale.textContent = `normaliser, own scale \u00b1${number(memory.zPeak, 3)}`;
      for (const { name, value } of numbers) {
        const x = memory.norm(name);
        value.textContent = number(x);
        value.dataset.value = x;
      }
      if (this.shown === moment) return;
      for (const part of card.querySelectorAll(".part")) part.classList.toggle("shown", part.dataset.moment === moment);
    });
    this.shown = moment;
  }

  /** Put in words what each map shows. */
  describe(t, moment) {
    for (const { r, name, frame } of this.maps) {
      frame.firstChild.setAttribute("aria-label", described(this.memories[r], name, moment, t));
    }
  }

  /** What each memory answers, in words. */
  answers() {
    return this.cards.map(({ answer }, r) => `${this.memories[r].title} ${answer.textContent}`);
  }

  /** The frame of one map of rule r. */
  frame(r, name) {
    return this.maps.find((map) => map.r === r && map.name === name).frame;
  }
}
