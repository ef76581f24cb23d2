// The player: which token is shown, what a person does to change it, and what the server hears of it.

const AFTER = ["decayed", "erased", "written"]; // the memory after each stage
const REST = 300; // ms without a step after which the player is at rest
const PACE = 1100; // ms for each picture of the demonstration
const ROUNDS = 4; // of the demonstration
const NARROW = 768; // CSS pixels: a window where the controls lie over the page
const WORDING = 150; // ms after which what the pictures show is put in words
const MUCH = 2 ** 15; // entries of all memories: more are not all drawn while the player moves
const SMALL_LATER = 80; // ms
const BESIDE = 24; // tokens of the strip beside the current one: as many as may have room there

const ZOOMS = { "+": 2, "=": 2, "-": 0.5, 0: 0 }; // by keys: closer, farther, the whole

const players = new WeakMap(); // by their root element
// By the key the page gave: a player that is mounted again goes on where it was. `told` is the token that the server
// knows, `wanted` the one asked for last, by the server or by a person; Infinity is the last, and so is what lies beyond.
const positions = new Map();

class Player {
  constructor(root) {
    this.root = root;
    this.t = 0;
    this.moment = "written"; // what the large maps show
    this.playing = false;
    this.scrubber = this.find(".scrubber");
    this.tip = new Tip(this.find(".tip"), this.find(".said"));
    this.answers = new Answers(root);
    listWords(this.find(".words dl"));
    this.observer = new ResizeObserver(() => this.layout());
    this.scrolled = () => this.tip.follow();
    this.left = () => clearTimeout(this.timer); // back or forward: what was to be told is about a choice that is gone
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.find(".speed").value = "1";
    this.listen();
    root.numbers = (rule, moment) => this.memories.find(({ slug }) => slug === rule).moment(moment).slice();
    root.seek = (t) => this.show(t);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // What comes from the page.

  receive({ header, floats, token, visit, moving, key, caption, reports, brief, awaited }, report, trigger) {
    Object.assign(this, { report: reports ? report : () => {}, caption });
    this.root.classList.toggle("brief", !!brief);
    this.still();
    const first = this.digest === undefined;
    if (header.digest !== this.digest) this.load(header, floats);
    this.recolour();

    if (first) this.position = positions.get(key) ?? {};
    positions.set(key, this.position);
    const asked = token < 0 ? Infinity : token;
    const anew = this.position.visit !== visit;
    if (anew) Object.assign(this.position, { visit, told: asked, wanted: asked });
    this.go(this.position.wanted);
    if (moving && anew && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.demonstrate(this.t);
    clearInterval(this.marking);
    this.marking = setInterval(() => markCharts(this.t), 400); // a chart that is drawn anew has no line
    document.removeEventListener("click", this.clicked);
    document.addEventListener("click", this.clicked);
    if (!first && innerWidth < NARROW) document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    this.observer.observe(this.find(".rules-box")); // and lay out, now that there is something to
    document.addEventListener("scroll", this.scrolled, { capture: true, passive: true });
    window.addEventListener("popstate", this.left);
    this.root.dataset.ready = header.digest;
    if (awaited && first) requestAnimationFrame(() => setTimeout(() => trigger("drawn", true)));
    if (this.position.wanted !== this.position.told && !this.playing && !this.held) this.rest(REST);
  }

  load(header, floats) {
    const { T, V, K, labels, events, rules, digest } = header;
    Object.assign(this, { T, V, K, labels, events, digest });
    this.memories = rules.map((rule) => new Memory(rule, header, floats, MAX_KEPT / rules.length));
    this.scrubber.max = T - 1;
    const shape = JSON.stringify([V, K, this.memories.map(({ title, z }) => [title, !!z])]);
    if (shape === this.shape) this.cards.memories = this.memories;
    else this.build();
    this.bent = undefined; // the scales are those of other numbers
    this.find(".own").hidden = rules.length === 1;
    this.answers.load(header, floats, this.cards.elements);
    this.shape = shape;
    this.tokens = labels.map((label, t) =>
      make("span", { class: "token", "data-t": t, dir: "auto" }, make("small", {}, String(t)), label),
    );
    this.layout();
  }

  build() {
    if (this.view?.V !== this.V || this.view.K !== this.K) this.view = new View(this.V, this.K);
    this.cards = new Cards(this.memories, this);
    this.tip.attach(this.cards);
    const rules = this.find(".rules");
    rules.dataset.count = this.memories.length;
    rules.replaceChildren(...this.cards.elements);
  }

  // What is shown.

  recolour() {
    this.colours = new Colours(this.root);
    new Pixels(this.find(".colours"), 1, 257).draw(steps(), 1, this.colours.linear);
    this.cards.colour(this.colours);
  }

  layout() {
    this.cards.layout();
    this.find(".zoom").hidden = this.view.isWhole && !this.cards.small;
    if (this.limits) this.draw();
    this.tip.place();
  }

  /** Show another part of the memories. */
  look() {
    const { view } = this;
    this.cards.look();
    this.draw();
    this.tip.place();
    this.find(".closer").disabled = view.isClosest;
    for (const button of [".farther", ".whole"]) this.find(button).disabled = view.isWhole;
    this.find(".part-said").textContent = view.isWhole ? "" : view.said;
  }

  zoom(factor) {
    const { cell } = this.tip;
    const { i, j, rows, columns } = this.view;
    if (cell) {
      this.view.zoom(factor, (cell.i - i + 0.5) / rows, (cell.j - j + 0.5) / columns);
      this.view.reach(cell.i, cell.j);
    } else this.view.zoom(factor);
    this.look();
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
    const { t } = this;
    const [over, bend] = this.find(".limit").value.split(" ");
    const peaks = this.memories.map(({ peak, peaks }) => (over === "token" ? larger(0, peaks[t]) : peak));
    // A rule that overflows must not make the others invisible.
    const alone = this.memories.map(({ overflows }) => this.memories.length > 1 && (this.apart || overflows));
    const shared = peaks.reduce((most, peak, r) => (alone[r] ? most : larger(most, peak)), 0);
    const limits = peaks.map((peak, r) => (alone[r] ? peak : shared));
    if (String([bend, over, limits, alone]) !== this.bent) this.rescale({ limits, alone, shared, bend, over });
    const table = this.colours[bend];
    clearTimeout(this.smaller);
    this.cards.draw(t, this.moment, limits, table, false);
    // Where there is much to draw the small maps follow once nothing moves, those of one rule after those of another,
    // so that a step need not wait for all of them.
    const rest = (r) => {
      this.cards.draw(t, this.moment, limits, table, true, r);
      if (r + 1 < this.memories.length) this.smaller = setTimeout(rest, 0, r + 1);
    };
    if (this.memories.length * this.V * this.K <= MUCH) this.cards.draw(t, this.moment, limits, table, true);
    else this.smaller = setTimeout(rest, SMALL_LATER, 0);
  }

  rescale({ limits, alone, shared, bend, over }) {
    this.bent = String([bend, over, limits, alone]);
    Object.assign(this, { limits, own: alone, bend });
    const each = alone.every(Boolean); // no scale is shared, and the bar has no numbers
    const of = each ? "each rule" : alone.some(Boolean) ? "the rules without a scale of their own" : "all rules";
    this.unit = `memory weight, no unit; ends: largest |entry| of ${of}, ${over === "token" ? "this token" : "all tokens"}`;
    this.find(".unit").textContent = this.unit;
    this.ends = each ? ["\u2212end", "", "0", "", "end"] : ticks(shared, bend).map((x) => number(x, 2));
    this.find(".ticks").replaceChildren(...this.ends.map((text) => make("span", {}, text)));
    this.scales = alone.map((is, r) => (is ? `own scale \u00b1${number(limits[r], 2)}` : ""));
    const range = each ? "Colour scale, one for each rule" : `Colour scale from ${number(-shared)} to ${number(shared)}`;
    this.find(".colours").setAttribute("aria-label", `${range}, zero in the middle; ${this.unit}`);
  }

  /** Bring every word and number up to date. */
  say() {
    const { t, T, moment } = this;
    const label = this.labels[t];
    this.root.dataset.token = t;
    this.scrubber.value = t;
    this.scrubber.style.setProperty("--at", T > 1 ? t / (T - 1) : 0);
    this.scrubber.setAttribute("aria-valuetext", `t = ${t} of 0 to ${T - 1}: ${label}${this.events[t] ? `; ${this.events[t]}` : ""}`);
    this.find(".now .t").textContent = `t = ${t}`;
    this.find(".now .label").textContent = label;
    const event = this.events[t] ?? "";
    this.find(".event").textContent = event;
    markCharts(t);
    this.cards.say(t, moment, this.scales);
    clearTimeout(this.wording);
    this.wording = setTimeout(() => this.cards.describe(t, moment), WORDING);
    this.answers.say(t, this.colours);
    // The current token in the middle, and no more to its sides than may have room.
    this.find(".past").replaceChildren(...this.tokens.slice(Math.max(0, t - BESIDE), t));
    this.find(".here").replaceChildren(this.tokens[t]);
    this.find(".coming").replaceChildren(...this.tokens.slice(t + 1, t + 1 + BESIDE));
    this.tip.show(t, moment);
  }

  /** Say the token and what happens at it, to those who do not see it. */
  announce() {
    const { t, labels, events } = this;
    this.tip.said.textContent = [`token ${t}: ${labels[t]}`, events[t], ...this.cards.answers()].filter(Boolean).join("; ");
  }

  // Stepping and playing.

  /** Show the stages of token t again and again, until something is done or it has been seen a few times. */
  demonstrate(t) {
    const frames = [[Math.max(t - 1, 0), "written"], [t, "decayed"], [t, "erased"], [t, "written"], [t, "written"]];
    let n = 0;
    this.demonstration = setInterval(() => {
      if (n === ROUNDS * frames.length) return this.still();
      const [at, moment] = frames[n++ % frames.length];
      this.moment = moment;
      this.go(at);
      this.position.wanted = t;
    }, PACE);
    this.root.dataset.moving = t;
  }

  /** End the demonstration, at its token. */
  still() {
    if (this.demonstration === undefined) return;
    clearInterval(this.demonstration);
    delete this.root.dataset.moving;
    this.demonstration = undefined;
    this.moment = "written";
    this.go(this.position.wanted);
  }

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
    this.still();
    this.answers.stop();
    clearTimeout(this.timer);
    clearTimeout(this.wording);
    clearTimeout(this.smaller);
    clearInterval(this.marking);
    document.removeEventListener("click", this.clicked);
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
      this.announce();
      this.rest(REST);
    };
    for (const type of ["pointerdown", "keydown"]) root.addEventListener(type, () => this.still(), { capture: true });
    this.clicked = (event) => {
      const token = clickedToken(event);
      if (token === null) return;
      this.still();
      moved(() => this.show(token));
    };
    on(".first", "click", () => moved(() => this.rewind()));
    on(".back", "click", () => moved(() => this.step(-1)));
    on(".forward", "click", () => moved(() => this.step(1)));
    on(".last", "click", () => moved(() => this.show(this.T - 1)));
    on(".play", "click", () => (this.playing ? this.pause() : this.play()));
    on(".save", "click", () => this.save());
    const rescaled = () => {
      this.draw();
      this.say();
    };
    on(".limit", "change", rescaled);
    on(".own", "click", () => {
      this.apart = !this.apart;
      this.find(".own").setAttribute("aria-pressed", this.apart);
      rescaled();
    });
    on(".closer", "click", () => this.zoom(2));
    on(".farther", "click", () => this.zoom(0.5));
    on(".whole", "click", () => this.zoom(0));
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
    for (const type of ["pointermove", "pointerdown"]) rules.addEventListener(type, (event) => this.tip.point(event));
    rules.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || this.tip.aim(null));
    for (const type of ["pointerover", "pointerdown"]) {
      root.addEventListener(type, ({ target }) => this.tip.explain(target.closest("[data-word]")));
    }
    root.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || this.tip.explain(null));
    listenToZoom(rules, { view: () => this.view, changed: () => this.look() });
    rules.addEventListener("focusout", () => this.tip.aim(null));
    rules.addEventListener("pointerover", ({ target }) => this.cards.light(target.closest("[data-stage]")?.dataset.stage));
    rules.addEventListener("pointerleave", ({ pointerType }) => pointerType === "touch" || this.cards.light(undefined));
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
    if (key === "Escape" && (this.tip.cell || this.tip.word)) {
      this.tip.aim(null);
      this.tip.explain(null);
      return true;
    }
    if (key === " ") {
      if (target.closest("button")) return false;
      if (this.playing) this.pause();
      else this.play();
      return true;
    }
    const maps = target.closest(".maps");
    if (maps && key in ZOOMS) {
      this.zoom(ZOOMS[key]);
      this.tip.said.textContent = this.view.said;
      return true;
    }
    if (maps) {
      const meant = this.tip.read(key, Number(maps.dataset.r));
      if (meant && !this.view.isWhole) {
        this.view.reach(this.tip.cell.i, this.tip.cell.j);
        this.look();
      }
      return meant;
    }
    const page = Math.max(1, Math.round(this.T / 10));
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: page, PageDown: -page, Home: -Infinity, End: Infinity };
    if (!(key in steps) || (target === this.scrubber && !this.staged)) return false; // the scrubber knows its keys
    moved(() => this.step(Math.min(Math.max(steps[key], -3 * this.T), 3 * this.T)));
    return true;
  }

  save() {
    const { caption, t } = this;
    const numbers = (memory) => Object.keys(NUMBERS).map((name) => `${NUMBERS[name]} ${number(memory.norm(name))}`);
    picture({ ...this, label: this.labels[t], numbers }).toBlob((blob) => {
      const link = make("a", { href: URL.createObjectURL(blob), download: `${caption.name}_t-${t}.png` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  }
}

export default function mount({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".player");
  if (!players.has(root)) players.set(root, new Player(root));
  const player = players.get(root);
  const call = Symbol("call"); // a call that was overtaken may be cleaned up after its successor has begun
  player.call = call;
  player.receive(decode(data), setStateValue, setTriggerValue);
  return () => {
    if (player.call === call) player.stop();
  };
}
