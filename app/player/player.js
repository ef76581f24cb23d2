// The player: what is on the page, what a person does to it, and what the server hears of it.

const STAGES = [
  { name: "decay", parts: ["before", "decayed"] },
  { name: "erase", parts: ["taken", "erased"] },
  { name: "write", parts: ["added", "written"] },
];
const REST = 300; // ms without a step after which the player is at rest
const BIG = 340; // CSS pixels, the most that a memory is high
const SMALL = 190;

const players = new WeakMap(); // by their root element
const positions = new Map(); // by the key the page gave, so that a player that is mounted again resumes

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
    this.find = (selector) => root.querySelector(selector);
    this.t = 0;
    this.moment = "written"; // what the large map shows
    this.playing = false;
    this.told = 0; // the token that the server knows
    this.pending = []; // tokens told and not yet handed back
    this.cell = null; // what is pointed at: { r, moment, i, j }
    this.scrubber = this.find(".scrubber");
    this.tip = this.find(".tip");
    this.observer = new ResizeObserver(() => this.layout());
    this.listen();
    root.numbers = (rule, moment) => this.memory(rule).maps[moment].slice();
    root.seek = (t) => this.show(t);
  }

  memory(rule) {
    return this.memories.find(({ slug }, r) => slug === rule || r === rule);
  }

  // What comes from the page.

  receive({ header, floats, asked, key }, report) {
    this.report = report;
    const first = this.digest === undefined;
    if (header.digest !== this.digest) this.load(header, floats);
    this.recolour();
    this.observer.observe(this.find(".rules-box"));

    const known = first ? positions.get(key) : this;
    this.key = key;
    if (first) this.told = Math.max(asked, 0);
    let t = known ? known.t : 0;
    if (asked >= 0 && asked !== known?.asked) {
      const echo = this.pending.indexOf(asked);
      if (echo < 0) t = asked;
      else this.pending.splice(0, echo + 1);
    }
    this.asked = asked;
    this.show(t, true);
    this.root.dataset.ready = header.digest;
    if (this.t !== this.told && !this.playing && !this.held) this.rest(REST);
  }

  load(header, floats) {
    const share = MAX_KEPT / header.rules.length;
    this.memories = header.rules.map((rule) => new Memory(rule, header, floats, share));
    const { T, V, K, labels } = header;
    Object.assign(this, { T, V, K, labels, digest: header.digest });
    this.peak = this.memories.reduce((peak, { peaks }) => peaks.reduce(larger, peak), 0);
    this.scrubber.max = T - 1;
    this.find(".tokens").replaceChildren(
      ...labels.map((label, t) => make("span", { class: "token", "data-t": t, dir: "auto" }, label || "\u00b7")),
    );
    const shape = JSON.stringify([V, K, header.rules.map(({ title, decays, erases, arrays }) => [title, decays, erases, !!arrays.normaliser])]);
    if (shape !== this.shape) this.build();
    this.shape = shape;
  }

  /** Build the cards, one a rule. */
  build() {
    this.maps = [];
    this.cell = null;
    const cards = this.memories.map((memory, r) => {
      const title = make("h3", {}, make("i", { class: "chip" }), make("span", {}, memory.title));
      const large = make("div", { class: "large" },
        make("div", { class: "value-axis", "aria-hidden": "true" }, ...this.ticks(this.V, "value channel")),
        this.map(r, "large"),
        make("div", { class: "key-axis", "aria-hidden": "true" }, ...this.ticks(this.K, "key channel")));
      if (memory.z) {
        large.append(make("div", { class: "strip-name", "aria-hidden": "true" }, "z"), this.map(r, "z"), make("p", { class: "z-scale" }));
      }
      const stages = STAGES.map(({ name, parts }) =>
        make("div", { class: "stage", "data-stage": name },
          make("p", { class: "stage-name" }, name, make("span", { class: "gate" })),
          ...parts.map((moment) => this.captioned(r, moment))));
      return make("article", { class: "rule", "data-rule": memory.slug },
        title,
        make("div", { class: "maps", tabindex: 0, role: "group", "data-r": r, "aria-roledescription": "memory maps",
          "aria-label": `${memory.title}: arrow keys move over its entries, M changes the map` },
          make("div", { class: "large-box" }, make("p", { class: "large-name" }), large),
          make("div", { class: "moments" }, ...stages)),
        make("p", { class: "numbers" }));
    });
    const rules = this.find(".rules");
    rules.dataset.count = cards.length;
    rules.replaceChildren(...cards);
    this.cards = cards;
  }

  ticks(size, name) {
    return [make("span", {}, "0"), make("span", { class: "axis-name" }, name), make("span", {}, String(size - 1))];
  }

  map(r, name) {
    const rows = name === "z" ? 1 : this.V;
    const title = this.memories[r].title;
    const canvas = make("canvas", { role: "img", "aria-label": name === "z" ? `${title}: normaliser z` : `${title}: ${name === "large" ? "memory" : name}, ${rows} value by ${this.K} key channels` });
    const frame = make("div", { class: "frame", "data-r": r, "data-map": name }, canvas, make("div", { class: "mesh" }), make("div", { class: "spot" }));
    this.maps.push({ r, name, frame, rows, pixels: new Pixels(canvas, rows, this.K), spot: frame.lastChild });
    return make("div", { class: "slot" }, frame);
  }

  captioned(r, moment) {
    const { sign } = MOMENTS.find(({ name }) => name === moment);
    return make("figure", { class: "part", "data-moment": moment },
      this.map(r, moment),
      make("figcaption", {}, make("button", { type: "button", tabindex: -1, class: "enlarge", title: `Show ${moment} large` }, make("b", {}, sign), ` ${moment}`)));
  }

  // What is shown.

  recolour() {
    this.colours = new Colours(this.root);
    new Pixels(this.find(".colours"), 1, 257).draw(steps(), 1, this.colours.table);
    this.cards.forEach((card, r) => card.style.setProperty("--chip", this.colours.rules[r % this.colours.rules.length]));
  }

  /** Give every map whole device pixels for each cell, if there are enough. */
  layout() {
    const ratio = window.devicePixelRatio || 1;
    for (const { name, frame, rows } of this.maps) {
      const room = frame.parentElement.clientWidth;
      if (!room) continue;
      const most = name === "large" || name === "z" ? BIG : SMALL;
      const exact = Math.min((room * ratio) / this.K, (most * ratio) / this.V);
      const cell = (exact >= 1 ? Math.floor(exact) : exact) / ratio;
      frame.style.width = `${cell * this.K}px`;
      frame.style.height = name === "z" ? `${Math.max(8, Math.min(cell, 16))}px` : `${cell * rows}px`;
      frame.style.setProperty("--cell", `${cell}px`);
      frame.classList.toggle("meshed", cell >= 7);
    }
    this.place();
    this.centre();
  }

  /** Show token t, and the large maps at the moment at hand. */
  show(t, always = false) {
    t = Math.min(Math.max(Math.round(t), 0), this.T - 1);
    if (t === this.t && !always) return;
    this.t = t;
    positions.set(this.key, { t, asked: this.asked });
    for (const memory of this.memories) memory.seek(t);
    this.limit = this.find(".limit").value === "token" ? this.memories.reduce((peak, { peaks }) => larger(peak, peaks[t]), 0) : this.peak;
    this.draw();
    this.say();
  }

  draw() {
    const { t } = this;
    for (const { r, name, pixels } of this.maps) {
      const memory = this.memories[r];
      if (name === "z") pixels.draw(memory.z.subarray((t + 1) * this.K, (t + 2) * this.K), this.zPeak(r), this.colours.table);
      else pixels.draw(memory.maps[name === "large" ? this.moment : name], this.limit, this.colours.table);
    }
  }

  zPeak(r) {
    return this.memories[r].z.reduce(larger, 0);
  }

  numbers(memory) {
    const { t } = this;
    return [["|S|", memory.norm("S")], ["|u|", memory.norm("u")], ["|o|", memory.norm("o")], ...memory.numbers.map(([name, values]) => [name, values[t]])];
  }

  /** Bring every word and number up to date. */
  say() {
    const { t, T } = this;
    const label = this.labels[t];
    this.root.dataset.token = t;
    this.scrubber.value = t;
    this.scrubber.style.setProperty("--at", T > 1 ? t / (T - 1) : 0);
    this.scrubber.setAttribute("aria-valuetext", `t = ${t} of 0 to ${T - 1}: ${label}`);
    this.find(".now .t").textContent = `t = ${t}`;
    this.find(".now .label").textContent = label;
    const [low, , high] = this.find(".ticks").children;
    low.textContent = number(-this.limit, 3);
    high.textContent = number(this.limit, 3);
    this.find(".colours").setAttribute("aria-label", `Colour scale from ${number(-this.limit)} to ${number(this.limit)}, zero in the middle; memory weights have no unit`);
    this.memories.forEach((memory, r) => {
      const card = this.cards[r];
      const say = (selector, text) => { card.querySelector(selector).textContent = text; };
      say(".large-name", this.moment === "written" ? `S after token ${t}` : `${this.moment} at token ${t}`);
      const [least, most] = memory.decayRange(t);
      say("[data-stage=decay] .gate", !memory.decays ? "none" : least === most ? `\u00d7 ${number(most, 3)}` : `\u00d7 ${number(least, 2)}\u2026${number(most, 2)}`);
      say("[data-stage=erase] .gate", memory.erases ? "" : "none");
      if (memory.z) say(".z-scale", `normaliser, own scale \u00b1${number(this.zPeak(r), 3)}`);
      card.querySelector(".numbers").replaceChildren(...this.numbers(memory).map(([name, x]) =>
        make("span", { "data-number": name, "data-value": x }, make("i", {}, name), ` ${number(x)}`)));
    });
    for (const part of this.root.querySelectorAll(".part")) part.classList.toggle("shown", part.dataset.moment === this.moment);
    const old = this.find(".token.here");
    old?.classList.remove("here");
    this.find(".tokens").children[t].classList.add("here");
    this.centre();
    this.place();
  }

  /** Bring the current token to the middle of the strip. */
  centre() {
    const token = this.find(".token.here");
    if (token) token.parentElement.style.transform = `translateX(${-(token.offsetLeft + token.offsetWidth / 2)}px)`;
  }

  // Stepping and playing.

  step(by) {
    if (this.staged) {
      const order = ["decayed", "erased", "written"];
      const place = order.indexOf(this.moment === "before" ? "decayed" : this.moment);
      const next = 3 * this.t + (place < 0 ? 2 : place) + by;
      const bounded = Math.min(Math.max(next, 0), 3 * this.T - 1);
      this.moment = order[bounded % 3];
      this.show(Math.floor(bounded / 3), true);
      return bounded === next;
    }
    const next = this.t + by;
    this.show(next);
    return next >= 0 && next < this.T;
  }

  play() {
    const done = this.t === this.T - 1 && (!this.staged || this.moment === "written");
    if (done) this.rewind();
    clearTimeout(this.timer);
    this.setPlaying(true);
    let last = performance.now();
    let owed = 0;
    const frame = (now) => {
      if (!this.playing) return;
      owed += (Math.min(now - last, 250) / 1000) * Number(this.find(".speed").value);
      last = now;
      for (; owed >= 0.999; owed -= 1) {
        if (this.step(1)) continue;
        if (this.find(".loop").getAttribute("aria-pressed") !== "true") return this.pause();
        this.rewind();
      }
      this.request = requestAnimationFrame(frame);
    };
    this.request = requestAnimationFrame(frame);
  }

  rewind() {
    if (this.staged) this.moment = "decayed";
    this.show(0, true);
  }

  pause() {
    if (!this.playing) return;
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

  /** Tell the server the token at rest, unless something moves before `delay` is over. */
  rest(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.t === this.told) return;
      this.told = this.t;
      this.pending = [...this.pending, this.t].slice(-32);
      this.report("token", this.t);
    }, delay);
  }

  stop() {
    this.setPlaying(false);
    clearTimeout(this.timer);
    this.observer.disconnect();
  }

  // What a person does.

  listen() {
    const { root, scrubber } = this;
    const on = (selector, type, act) => this.find(selector).addEventListener(type, act);
    const stepped = (move) => () => {
      this.setPlaying(false);
      move();
      this.rest(REST);
    };
    on(".first", "click", stepped(() => this.show(0)));
    on(".back", "click", stepped(() => this.step(-1)));
    on(".forward", "click", stepped(() => this.step(1)));
    on(".last", "click", stepped(() => this.show(this.T - 1)));
    on(".play", "click", () => (this.playing ? this.pause() : this.play()));
    on(".save", "click", () => this.save());
    on(".limit", "change", () => this.show(this.t, true));
    for (const name of [".loop", ".stages"]) {
      on(name, "click", ({ currentTarget }) => {
        const pressed = currentTarget.getAttribute("aria-pressed") !== "true";
        currentTarget.setAttribute("aria-pressed", pressed);
        this.staged = this.find(".stages").getAttribute("aria-pressed") === "true";
        if (!this.staged) this.enlarge("written");
      });
    }
    scrubber.addEventListener("pointerdown", () => { this.held = true; });
    for (const type of ["pointerup", "pointercancel"]) scrubber.addEventListener(type, () => { this.held = false; });
    scrubber.addEventListener("input", () => {
      this.setPlaying(false);
      clearTimeout(this.timer);
      this.show(scrubber.valueAsNumber);
    });
    scrubber.addEventListener("change", () => this.rest(this.byKey ? REST : 0));
    scrubber.addEventListener("keydown", () => { this.byKey = true; });
    scrubber.addEventListener("pointerdown", () => { this.byKey = false; });
    on(".strip", "click", ({ target }) => target.dataset.t && stepped(() => this.show(Number(target.dataset.t)))());
    root.addEventListener("keydown", (event) => this.key_(event));

    const rules = this.find(".rules");
    rules.addEventListener("pointermove", (event) => this.point(event));
    rules.addEventListener("pointerdown", (event) => this.point(event));
    rules.addEventListener("pointerleave", () => this.aim(null));
    rules.addEventListener("focusout", () => this.aim(null));
    rules.addEventListener("click", ({ target }) => {
      const part = target.closest(".part");
      if (part) this.enlarge(part.dataset.moment);
    });
    document.addEventListener("scroll", () => this.aim(null), { capture: true, passive: true });
  }

  enlarge(moment) {
    this.moment = moment;
    this.show(this.t, true);
  }

  key_(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select")) return;
    const onMaps = event.target.closest(".maps");
    const onScrubber = event.target === this.scrubber;
    const onButton = event.target.closest("button");
    const jump = Math.max(1, Math.round(this.T / 10));
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: jump, PageDown: -jump, Home: -this.T, End: this.T };
    if (event.key === " ") {
      if (onButton) return;
      if (this.playing) this.pause();
      else this.play();
    } else if (event.key === "Escape" && this.cell) {
      this.aim(null);
    } else if (onMaps && this.moveCell(event.key, Number(onMaps.dataset.r))) {
      // the cell moved
    } else if (onMaps) {
      return;
    } else if (event.key in steps && (!onScrubber || this.staged)) {
      this.setPlaying(false);
      this.step(steps[event.key]);
      this.rest(REST);
    } else {
      return;
    }
    event.preventDefault();
  }

  // The cell at hand.

  point({ target, clientX, clientY }) {
    const frame = target.closest(".frame");
    if (!frame) return this.aim(null);
    const { left, top, width, height } = frame.getBoundingClientRect();
    const map = frame.dataset.map;
    const j = Math.min(Math.floor(((clientX - left) / width) * this.K), this.K - 1);
    const i = map === "z" ? 0 : Math.min(Math.floor(((clientY - top) / height) * this.V), this.V - 1);
    this.aim({ r: Number(frame.dataset.r), map, i: Math.max(i, 0), j: Math.max(j, 0) });
  }

  moveCell(key, r) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const here = this.cell?.r === r ? this.cell : { r, map: "large", i: 0, j: 0 };
    if (key in moves) {
      const [down, right] = this.cell?.r === r ? moves[key] : [0, 0];
      const i = Math.min(Math.max(here.i + down, 0), this.V - 1);
      const j = Math.min(Math.max(here.j + right, 0), this.K - 1);
      this.aim({ ...here, i, j });
    } else if (key.toLowerCase() === "m") {
      const names = this.maps.filter((map) => map.r === r).map(({ name }) => name);
      this.aim({ ...here, map: names[(names.indexOf(here.map) + 1) % names.length] });
    } else {
      return false;
    }
    this.find(".said").textContent = this.tip.innerText.split("\n").slice(0, 3).join(", ");
    return true;
  }

  aim(cell) {
    if (!cell && !this.cell) return;
    this.cell = cell;
    this.place();
  }

  /** Put the tooltip beside the cell at hand, inside the window, and mark the cell in every map. */
  place() {
    const { cell, tip, K, t } = this;
    for (const { name, spot, rows } of this.maps) {
      const marked = cell && (name === "z" ? cell.map === "z" : cell.map !== "z");
      spot.hidden = !marked;
      if (marked) Object.assign(spot.style, { left: `${(100 * cell.j) / K}%`, top: `${(100 * cell.i) / rows}%`, width: `${100 / K}%`, height: `${100 / rows}%` });
    }
    tip.hidden = !cell;
    if (!cell) return;
    const memory = this.memories[cell.r];
    const n = cell.i * K + cell.j;
    const moment = cell.map === "large" ? this.moment : cell.map;
    const z = moment === "z";
    const value = z ? memory.z[(t + 1) * K + cell.j] : memory.maps[moment][n];
    const place = z ? `key channel ${cell.j}` : `value channel ${cell.i}, key channel ${cell.j}`;
    const chain = z ? [] : MOMENTS.map(({ name, sign }) =>
      make("li", { class: name === moment ? "this" : "" }, make("span", {}, sign), make("span", {}, name), make("span", {}, number(memory.maps[name][n]))));
    tip.replaceChildren(
      make("p", { class: "tip-rule" }, `${memory.title} \u00b7 ${z ? "normaliser z" : moment}`),
      make("p", { class: "tip-value", "data-value": value }, number(value)),
      make("p", { class: "tip-place" }, place),
      make("ul", {}, ...chain),
    );
    const frame = this.maps.find(({ r, name }) => r === cell.r && name === cell.map).frame.getBoundingClientRect();
    const rows = z ? 1 : this.V;
    const x = frame.left + ((cell.j + 1) / K) * frame.width;
    const y = frame.top + ((cell.i + 0.5) / rows) * frame.height;
    const { offsetWidth: width, offsetHeight: height } = tip;
    const right = x + 14 + width <= document.documentElement.clientWidth - 8;
    const left = right ? x + 14 : x - frame.width / K - 14 - width;
    const edge = document.documentElement.clientWidth - width - 8;
    tip.style.left = `${Math.max(8, Math.min(left, edge))}px`;
    tip.style.top = `${Math.max(8, Math.min(y - height / 2, window.innerHeight - height - 8))}px`;
  }

  save() {
    const { memories, V, K, T, t, limit, colours } = this;
    const limitWords = this.find(".limit").selectedOptions[0].textContent;
    const canvas = picture({ memories, V, K, T, t, label: this.labels[t], limit, limitWords, colours, numbers: (memory) => this.numbers(memory) });
    canvas.toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: `memory-${memories.map(({ slug }) => slug).join("-")}-t${t}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".player");
  if (!players.has(root)) players.set(root, new Player(root));
  const player = players.get(root);
  const call = Symbol("call"); // a call that was overtaken is cleaned up after its successor has begun
  player.call = call;
  player.receive(decode(data), setStateValue);
  return () => {
    if (player.call === call) player.stop();
  };
}
