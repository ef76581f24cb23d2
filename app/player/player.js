// The player: what is on the page, what a person does to it, and what the server hears of it.

const STAGES = [
  { name: "decay", parts: ["before", "decayed"] },
  { name: "erase", parts: ["taken", "erased"] },
  { name: "write", parts: ["added", "written"] },
];
const AFTER = ["decayed", "erased", "written"]; // the memory after each stage
const REST = 300; // ms without a step after which the player is at rest
const BIG = { alone: 400, beside: 330 }; // CSS pixels, the most that a memory is high
const SMALL = 170;
const BESIDE = 24; // tokens of the strip beside the current one: as many as may have room there
const NUMBERS = { S: "|S|", u: "|u|", o: "|o|" }; // Euclidean lengths, of all entries of S for a memory
const MEANING = {
  S: "Length of the memory: the root of the sum of its squared entries",
  u: "Length of the error: what was to be written, less what the memory answered to the key",
  o: "Length of the output",
};

const players = new WeakMap(); // by their root element
// By the key the page gave: a player that is mounted again goes on where it was. `told` is the token that the server
// knows, `wanted` the one asked for last, by the server or by a person; Infinity is the last, and so is what lies beyond.
const positions = new Map();

/** Make an element. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

class Player {
  constructor(root) {
    this.root = root;
    this.t = 0;
    this.moment = "written"; // what the large maps show
    this.playing = false;
    this.cell = null; // what is pointed at: { r, map, i, j }
    this.scrubber = this.find(".scrubber");
    this.tip = this.find(".tip");
    this.observer = new ResizeObserver(() => this.layout());
    this.scrolled = () => this.follow();
    this.left = () => clearTimeout(this.timer); // back or forward: what was to be told is about a choice that is gone
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.find(".speed").value = "1";
    this.listen();
    root.numbers = (rule, moment) => this.memories.find(({ slug }) => slug === rule).maps[moment].slice();
    root.seek = (t) => this.show(t);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // What comes from the page.

  receive({ header, floats, token, visit, key }, report) {
    this.report = report;
    const first = this.digest === undefined;
    if (header.digest !== this.digest) this.load(header, floats);
    this.recolour();

    if (first) this.position = positions.get(key) ?? {};
    positions.set(key, this.position);
    const asked = token < 0 ? Infinity : token;
    if (this.position.visit !== visit) Object.assign(this.position, { visit, told: asked, wanted: asked });
    this.go(this.position.wanted);
    this.observer.observe(this.find(".rules-box")); // and lay out, now that there is something to
    document.addEventListener("scroll", this.scrolled, { capture: true, passive: true });
    window.addEventListener("popstate", this.left);
    this.root.dataset.ready = header.digest;
    if (this.position.wanted !== this.position.told && !this.playing && !this.held) this.rest(REST);
  }

  load(header, floats) {
    const { T, V, K, labels, rules, digest } = header;
    Object.assign(this, { T, V, K, labels, digest });
    this.memories = rules.map((rule) => new Memory(rule, header, floats, MAX_KEPT / rules.length));
    this.peak = this.memories.reduce((peak, { peaks }) => peaks.reduce(larger, peak), 0);
    this.scrubber.max = T - 1;
    const shape = JSON.stringify([V, K, this.memories.map(({ title, z }) => [title, !!z])]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.tokens = labels.map((label, t) =>
      make("span", { class: "token", "data-t": t, dir: "auto" }, make("small", {}, String(t)), label),
    );
    this.layout();
  }

  /** Build the cards, one a rule. */
  build() {
    this.maps = [];
    this.cell = null;
    this.cards = this.memories.map((memory, r) => this.card(memory, r));
    const rules = this.find(".rules");
    rules.dataset.count = this.cards.length;
    rules.replaceChildren(...this.cards.map(({ card }) => card));
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
      return make("div", { class: "stage" }, heading, ...parts.map((moment) => this.part(r, moment)));
    });
    const numbers = Object.keys(NUMBERS).map((name) => {
      const value = make("span", { "data-number": name });
      return { name, value, line: make("span", { title: MEANING[name] }, make("i", {}, NUMBERS[name]), " ", value) };
    });
    const maps = make("div", {
      class: "maps", tabindex: 0, role: "group", "data-r": r, "aria-roledescription": "memory maps",
      "aria-label": `${memory.title}: arrow keys read its entries, M goes to the next map`,
    }, make("div", {}, heading, large), make("div", { class: "moments" }, ...stages));
    const card = make("article", { class: "rule", "data-rule": memory.slug },
      make("h3", {}, make("i", { class: "chip" }), make("span", {}, memory.title)),
      maps,
      make("p", { class: "numbers" }, ...numbers.map(({ line }) => line)));
    return { card, heading, zScale, gates, numbers };
  }

  /** One matrix on the page: `name` is a moment, "large" or "z". */
  map(r, name) {
    const rows = name === "z" ? 1 : this.V;
    const what = { large: "the memory", z: "the normaliser z" }[name] ?? name;
    const canvas = make("canvas", {
      role: "img", "aria-label": `${this.memories[r].title}, ${what}: ${rows} value channels down, ${this.K} key channels across`,
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

  // What is shown.

  recolour() {
    this.colours = new Colours(this.root);
    new Pixels(this.find(".colours"), 1, 257).draw(steps(), 1, this.colours.linear);
    this.cards.forEach(({ card }, r) => card.style.setProperty("--chip", this.colours.rules[r % this.colours.rules.length]));
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
    this.place();
  }

  /** Show token t, if it is not shown already. */
  show(t) {
    const next = this.clamped(t);
    if (next !== this.t) this.go(next);
  }

  clamped(t) {
    return Math.min(Math.max(Math.round(t), 0), this.T - 1);
  }

  /** Show token t, or the last where there are fewer: t is shown again once there are enough. */
  go(t) {
    this.position.wanted = t;
    this.t = this.clamped(t);
    for (const memory of this.memories) memory.seek(this.t);
    this.draw();
    this.say();
  }

  draw() {
    const { t, K } = this;
    const [over, bend] = this.find(".limit").value.split(" ");
    const limit = over === "token" ? this.memories.reduce((peak, { peaks }) => larger(peak, peaks[t]), 0) : this.peak;
    if (limit !== this.limit || bend !== this.bend || over !== this.over) this.rescale(limit, bend, over);
    const table = this.colours[bend];
    for (const { r, name, pixels } of this.maps) {
      const { maps, z, zPeak } = this.memories[r];
      if (name === "z") pixels.draw(z.subarray((t + 1) * K, (t + 2) * K), zPeak, table);
      else pixels.draw(maps[name === "large" ? this.moment : name], limit, table);
    }
  }

  rescale(limit, bend, over) {
    Object.assign(this, { limit, bend, over });
    this.unit = `memory weight, no unit; ends: largest |entry| of all rules, ${over === "token" ? "this token" : "all tokens"}`;
    this.find(".unit").textContent = this.unit;
    this.find(".ticks").replaceChildren(...ticks(limit, bend).map((x) => make("span", {}, number(x, 2))));
    const range = `Colour scale from ${number(-limit)} to ${number(limit)}, zero in the middle`;
    this.find(".colours").setAttribute("aria-label", `${range}; ${this.unit}`);
  }

  /** The numbers under a rule, by name. */
  numbers(memory) {
    return Object.keys(NUMBERS).map((name) => [name, memory.norm(name)]);
  }

  /** Bring every word and number up to date. */
  say() {
    const { t, T, moment } = this;
    const label = this.labels[t];
    this.root.dataset.token = t;
    this.scrubber.value = t;
    this.scrubber.style.setProperty("--at", T > 1 ? t / (T - 1) : 0);
    this.scrubber.setAttribute("aria-valuetext", `t = ${t} of 0 to ${T - 1}: ${label}`);
    this.find(".now .t").textContent = `t = ${t}`;
    this.find(".now .label").textContent = label;
    this.memories.forEach((memory, r) => {
      const { heading, zScale, gates, numbers } = this.cards[r];
      heading.textContent = moment === "written" ? `S after token ${t}` : `${moment}, token ${t}`;
      const [least, most] = memory.decayRange(t);
      const decay = least === most ? number(most, 3) : `${number(least, 2)}\u2026${number(most, 2)}`;
      gates.decay.textContent = memory.decays ? `\u00d7 ${decay}` : "none";
      gates.erase.textContent = memory.erases ? "read k\u1d40" : "none";
      gates.write.textContent = "(w v) k\u1d40";
      if (memory.z) zScale.textContent = `normaliser, own scale \u00b1${number(memory.zPeak, 3)}`;
      this.numbers(memory).forEach(([, x], n) => {
        numbers[n].value.textContent = number(x);
        numbers[n].value.dataset.value = x;
      });
    });
    if (this.shown !== moment) {
      for (const part of this.root.querySelectorAll(".part")) part.classList.toggle("shown", part.dataset.moment === moment);
      this.shown = moment;
    }
    // The current token in the middle, and no more to its sides than may have room.
    this.find(".past").replaceChildren(...this.tokens.slice(Math.max(0, t - BESIDE), t));
    this.find(".here").replaceChildren(this.tokens[t]);
    this.find(".coming").replaceChildren(...this.tokens.slice(t + 1, t + 1 + BESIDE));
    this.place();
  }

  // Stepping and playing.

  /** Move by tokens, or by stages; tell whether there was room to. */
  step(by) {
    if (!this.staged) {
      const next = this.t + by;
      this.show(next);
      return next === this.t;
    }
    const stage = Math.max(AFTER.indexOf(this.moment), 0);
    const next = 3 * this.t + stage + by;
    const bounded = Math.min(Math.max(next, 0), 3 * this.T - 1);
    this.moment = AFTER[bounded % 3];
    this.go(Math.floor(bounded / 3));
    return next === bounded;
  }

  rewind() {
    if (this.staged) this.moment = AFTER[0];
    this.go(0);
  }

  play() {
    clearTimeout(this.timer);
    if (this.t === this.T - 1 && (!this.staged || this.moment === "written")) this.rewind();
    this.setPlaying(true);
    let last = performance.now();
    let owed = 0;
    const frame = (now) => {
      owed += (Math.min(Math.max(now - last, 0), 250) / 1000) * Number(this.find(".speed").value);
      last = now;
      for (; owed > 0.99; owed -= 1) {
        if (this.step(1)) continue;
        if (!this.looping) return this.pause();
        this.rewind();
      }
      this.request = requestAnimationFrame(frame);
    };
    this.request = requestAnimationFrame(frame);
  }

  pause() {
    this.setPlaying(false);
    this.rest(0);
  }

  setPlaying(playing) {
    this.playing = playing;
    cancelAnimationFrame(this.request);
    const button = this.find(".play");
    button.classList.toggle("on", playing);
    button.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  /** Tell the server which token is at rest, unless something moves within `delay` ms. */
  rest(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { position, t } = this;
      const news = t !== this.clamped(position.told);
      if (news) position.told = t;
      position.wanted = position.told;
      if (news) this.report("rest", { token: t, visit: position.visit, digest: this.digest });
    }, delay);
  }

  stop() {
    this.setPlaying(false);
    clearTimeout(this.timer);
    this.observer.disconnect();
    window.removeEventListener("popstate", this.left);
    document.removeEventListener("scroll", this.scrolled, { capture: true });
  }

  // What a person does.

  listen() {
    const { root, scrubber } = this;
    const on = (selector, type, act) => this.find(selector).addEventListener(type, act);
    const moved = (move) => {
      this.setPlaying(false);
      move();
      this.rest(REST);
    };
    on(".first", "click", () => moved(() => this.rewind()));
    on(".back", "click", () => moved(() => this.step(-1)));
    on(".forward", "click", () => moved(() => this.step(1)));
    on(".last", "click", () => moved(() => this.show(this.T - 1)));
    on(".play", "click", () => (this.playing ? this.pause() : this.play()));
    on(".save", "click", () => this.save());
    on(".limit", "change", () => this.draw());
    on(".loop", "click", () => {
      this.looping = !this.looping;
      this.find(".loop").setAttribute("aria-pressed", this.looping);
    });
    on(".stages", "click", () => {
      this.staged = !this.staged;
      this.find(".stages").setAttribute("aria-pressed", this.staged);
      if (!this.staged) this.enlarge("written");
    });
    on(".strip", "click", ({ target }) => {
      const token = target.closest(".token");
      if (token) moved(() => this.show(Number(token.dataset.t)));
    });

    scrubber.addEventListener("pointerdown", () => { this.held = true; });
    for (const type of ["pointerup", "pointercancel"]) scrubber.addEventListener(type, () => { this.held = false; });
    scrubber.addEventListener("input", () => {
      this.setPlaying(false);
      clearTimeout(this.timer);
      this.show(scrubber.valueAsNumber);
    });
    scrubber.addEventListener("change", () => this.rest(this.steered ? REST : 0)); // a key is followed by others
    scrubber.addEventListener("keydown", () => { this.steered = true; });
    scrubber.addEventListener("pointerdown", () => { this.steered = false; });
    root.addEventListener("keydown", (event) => {
      if (!event.altKey && !event.ctrlKey && !event.metaKey && this.press(event, moved)) event.preventDefault();
    });

    const rules = this.find(".rules");
    for (const type of ["pointermove", "pointerdown"]) rules.addEventListener(type, (event) => this.point(event));
    rules.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || this.aim(null));
    rules.addEventListener("focusout", () => this.aim(null));
    rules.addEventListener("click", ({ target }) => {
      const part = target.closest(".part");
      if (part) this.enlarge(part.dataset.moment);
    });
  }

  enlarge(moment) {
    this.moment = moment;
    this.go(this.position.wanted);
  }

  /** Act on a key pressed inside the player; tell whether it meant something. */
  press({ key, target }, moved) {
    if (target.closest("select")) return false;
    if (key === "Escape" && this.cell) {
      this.aim(null);
      return true;
    }
    if (key === " ") {
      if (target.closest("button")) return false;
      if (this.playing) this.pause();
      else this.play();
      return true;
    }
    const maps = target.closest(".maps");
    if (maps) return this.read(key, Number(maps.dataset.r));
    const page = Math.max(1, Math.round(this.T / 10));
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: page, PageDown: -page, Home: -Infinity, End: Infinity };
    if (!(key in steps) || (target === this.scrubber && !this.staged)) return false; // the scrubber knows its keys
    moved(() => this.step(Math.min(Math.max(steps[key], -3 * this.T), 3 * this.T)));
    return true;
  }

  /** Move over the entries of rule r by keys, and say them. */
  read(key, r) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const began = this.cell?.r === r;
    const here = began ? this.cell : { r, map: "large", i: 0, j: 0 };
    if (key in moves) {
      const [down, right] = began ? moves[key] : [0, 0];
      const i = Math.min(Math.max(here.i + down, 0), here.map === "z" ? 0 : this.V - 1);
      const j = Math.min(Math.max(here.j + right, 0), this.K - 1);
      this.aim({ ...here, i, j });
    } else if (key === "m" || key === "M") {
      const names = this.maps.filter((map) => map.r === r).map(({ name }) => name);
      const map = names[(names.indexOf(here.map) + 1) % names.length];
      this.aim({ ...here, map, i: map === "z" ? 0 : here.i });
    } else {
      return false;
    }
    this.find(".said").textContent = [...this.tip.querySelectorAll("p")].map((p) => p.textContent).join(", ");
    return true;
  }

  // The cell at hand.

  point({ target, clientX, clientY }) {
    const frame = target.closest(".frame");
    if (!frame) return this.aim(null);
    const { left, top, width, height } = frame.getBoundingClientRect();
    const map = frame.dataset.map;
    const rows = map === "z" ? 1 : this.V;
    const inside = (x, size) => Math.min(Math.max(Math.floor(x * size), 0), size - 1);
    const [i, j] = [inside((clientY - top) / height, rows), inside((clientX - left) / width, this.K)];
    this.aim({ r: Number(frame.dataset.r), map, i, j });
  }

  aim(cell) {
    if (!cell && !this.cell) return;
    this.cell = cell;
    this.place();
  }

  /** Keep the numbers beside their map when the page scrolls, as long as it is in view. */
  follow() {
    if (!this.cell) return;
    const { top, bottom } = this.frameAtHand().getBoundingClientRect();
    if (bottom < 0 || top > window.innerHeight) this.aim(null);
    else this.place();
  }

  frameAtHand() {
    const { r, map } = this.cell;
    return this.maps.find((other) => other.r === r && other.name === map).frame;
  }

  /** Mark the cell at hand in every map, and put its numbers beside its map, inside the window. */
  place() {
    const { cell, tip, marked, K, t } = this;
    if (!cell && !marked) return;
    this.marked = !!cell;
    const z = cell?.map === "z";
    for (const { name, spot, rows } of this.maps) {
      spot.style.display = cell && (name === "z") === z ? "block" : "none";
      if (!cell) continue;
      spot.style.left = `${(100 * cell.j) / K}%`;
      spot.style.top = `${(100 * cell.i) / rows}%`;
      spot.style.width = `${100 / K}%`;
      spot.style.height = `${100 / rows}%`;
    }
    tip.hidden = !cell;
    if (!cell) return;

    const memory = this.memories[cell.r];
    const n = cell.i * K + cell.j;
    const moment = cell.map === "large" ? this.moment : cell.map;
    const value = z ? memory.z[(t + 1) * K + cell.j] : memory.maps[moment][n];
    const chain = MOMENTS.map(({ name, sign }) =>
      make("li", { class: name === moment ? "this" : "" },
        make("span", {}, sign), make("span", {}, name), make("span", {}, number(memory.maps[name][n]))));
    tip.replaceChildren(
      make("p", { class: "tip-rule" }, `${memory.title} \u00b7 ${z ? "normaliser z" : moment}`),
      make("p", { class: "tip-value", "data-value": value }, number(value)),
      make("p", { class: "tip-place" }, `${z ? "" : `value channel ${cell.i}, `}key channel ${cell.j}`),
      ...(z ? [] : [make("ul", {}, ...chain)]),
    );
    const { left, right, top, bottom } = this.frameAtHand().getBoundingClientRect();
    const [width, height] = [document.documentElement.clientWidth - 8, window.innerHeight - 8];
    let x = right + 10;
    let y = top + ((cell.i + 0.5) / (z ? 1 : this.V)) * (bottom - top) - tip.offsetHeight / 2;
    if (x + tip.offsetWidth > width) x = left - 10 - tip.offsetWidth;
    if (x < 8) {
      // no room at either side
      x = left;
      y = top - 10 - tip.offsetHeight < 8 ? bottom + 10 : top - 10 - tip.offsetHeight;
    }
    tip.style.left = `${Math.max(8, Math.min(x, width - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(8, Math.min(y, height - tip.offsetHeight))}px`;
  }

  save() {
    const { memories, t } = this;
    const numbers = (memory) => this.numbers(memory).map(([name, x]) => `${NUMBERS[name]} ${number(x)}`);
    picture({ ...this, label: this.labels[t], numbers }).toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: `${memories.map(({ slug }) => slug).join("-")}-t${t}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".player");
  if (!players.has(root)) players.set(root, new Player(root));
  const player = players.get(root);
  const call = Symbol("call"); // a call that was overtaken may be cleaned up after its successor has begun
  player.call = call;
  player.receive(decode(data), setStateValue);
  return () => {
    if (player.call === call) player.stop();
  };
}
