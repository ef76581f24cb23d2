// The cards, one a rule: its maps, its gates and its numbers.

const STAGES = [
  { name: "decay", parts: ["before", "decayed"] },
  { name: "erase", parts: ["taken", "erased"] },
  { name: "write", parts: ["added", "written"] },
];
const BIG = { alone: 400, beside: 330 }; // CSS pixels, the most that a memory is high
const SMALL = 170;
const NUMBERS = { S: "|S|", u: "|u|", o: "|o|" }; // Euclidean lengths, of all entries of S for a memory
const MEANING = {
  S: "Length of the memory: the root of the sum of its squared entries",
  u: "Length of the error: what was to be written, less what the memory answered to the key",
  o: "Length of the output",
};

/** Make an element. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Say what a map shows at a token. */
function described(memory, name, moment, t) {
  if (name === "z") return `${memory.title}: the sum of its keys after token ${t}`;
  const { of } = MOMENTS.find((one) => one.name === (name === "large" ? moment : name));
  const peak = memory.maps[name === "large" ? moment : name].reduce(larger, 0);
  return `${memory.title}, ${name === "large" ? moment : name} at token ${t}: ${of}; ${peak ? `entries up to ${number(peak, 2)}` : "all entries 0"}`;
}

class Cards {
  constructor(memories, { V, K }) {
    Object.assign(this, { V, K, memories, maps: [] });
    this.cards = memories.map((memory, r) => this.card(memory, r));
    this.elements = this.cards.map(({ card }) => card);
  }

  card(memory, r) {
    const axis = (name, size) =>
      make("div", { class: `${name}-axis`, "aria-hidden": "true" },
        make("span", {}, "0"), make("span", { class: "name" }, `${name} channel`), make("span", {}, String(size - 1)));
    const heading = make("p", { class: "large-name" });
    const large = make("div", { class: "large" }, axis("value", this.V), this.map(r, "large"), axis("key", this.K));
    const zScale = make("p", { class: "z-scale" });
    if (memory.z) large.append(make("div", { class: "z-name", "aria-hidden": "true" }, "z"), this.map(r, "z"), zScale);
    else if (this.memories.some(({ z }) => z)) large.append(make("div", { class: "z-none" })); // keeps the rows in line

    const gates = {};
    const stages = STAGES.map(({ name, parts }) => {
      gates[name] = make("span", { class: "gate" });
      const heading = make("p", { class: "stage-name" }, name, gates[name]);
      return make("div", { class: "stage", "data-stage": name }, heading, ...parts.map((moment) => this.part(r, moment)));
    });
    const numbers = Object.keys(NUMBERS).map((name) => {
      const value = make("span", { "data-number": name });
      return { name, value, line: make("span", { title: MEANING[name] }, make("i", {}, NUMBERS[name]), " ", value) };
    });
    const answer = make("p", { class: "answer" });
    const maps = make("div", {
      class: "maps", tabindex: 0, role: "group", "data-r": r, "aria-roledescription": "memory maps",
      "aria-label": `${memory.title}: arrow keys read its entries, M goes to the next map`,
    }, make("div", {}, heading, large), make("div", { class: "moments" }, ...stages));
    const card = make("article", { class: "rule", "data-rule": memory.slug },
      make("h2", {}, make("i", { class: "chip" }), make("span", {}, memory.title)),
      this.equation(memory),
      answer,
      maps,
      make("p", { class: "numbers" }, ...numbers.map(({ line }) => line)));
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
      role: "img", "aria-label": `${this.memories[r].title}, ${what}`,
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
    this.maps.forEach(({ name, frame, rows }, n) => {
      if (!rooms[n]) return;
      const high = name !== "large" && name !== "z" ? SMALL : this.cards.length === 1 ? BIG.alone : BIG.beside;
      const exact = Math.min((rooms[n] * ratio) / (this.K * across), (high * ratio) / (this.V * down));
      const cell = (exact >= 1 ? Math.floor(exact) : exact) / ratio;
      frame.style.width = `${cell * across * this.K}px`;
      frame.style.height = name === "z" ? "" : `${cell * down * rows}px`;
      frame.style.setProperty("--cell", `${cell * across}px ${cell * down}px`);
      frame.classList.toggle("meshed", cell >= 7);
      if (name !== "large") return;
      const large = frame.closest(".large");
      large.style.setProperty("--width", frame.style.width);
      large.classList.toggle("narrow", cell * across * this.K < 110);
      large.classList.toggle("low", cell * down * rows < 96);
    });
  }

  /** Draw token t, with this moment large, on a scale from -limit to limit. */
  draw(t, moment, limit, table) {
    for (const { r, name, pixels } of this.maps) {
      const { maps, z, zPeak } = this.memories[r];
      if (name === "z") pixels.draw(z.subarray((t + 1) * this.K, (t + 2) * this.K), zPeak, table);
      else pixels.draw(maps[name === "large" ? moment : name], limit, table);
    }
  }

  /** Bring the words and numbers up to date. */
  say(t, moment) {
    this.memories.forEach((memory, r) => {
      const { card, heading, zScale, gates, numbers } = this.cards[r];
      heading.textContent = moment === "written" ? `S after token ${t}` : `${moment}, token ${t}`;
      const [least, most] = memory.decayRange(t);
      const decay = least === most ? number(most, 3) : `${number(least, 2)}\u2026${number(most, 2)}`;
      gates.decay.textContent = memory.decays ? `\u00d7 ${decay}` : "none";
      gates.erase.textContent = memory.terms.erase || "none";
      gates.write.textContent = memory.terms.write;
      if (memory.z) zScale.textContent = `normaliser, own scale \u00b1${number(memory.zPeak, 3)}`;
      for (const { name, value } of numbers) {
        const x = memory.norm(name);
        value.textContent = number(x);
        value.dataset.value = x;
      }
      if (this.shown === moment) return;
      for (const part of card.querySelectorAll(".part")) part.classList.toggle("shown", part.dataset.moment === moment);
    });
    for (const { r, name, frame } of this.maps) {
      if (name === "large") frame.firstChild.setAttribute("aria-label", described(this.memories[r], name, moment, t));
    }
    this.shown = moment;
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
