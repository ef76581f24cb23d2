// The reel: which frame is shown, and what a person does to change it. The server hears nothing of it.

const PER_SECOND = 3;
const PHONE = 768; // CSS pixels: a narrower window has a smaller picture, so that its controls are seen beside it
const reels = new WeakMap(); // by their root element

class Reel {
  constructor(root) {
    this.root = root;
    this.slider = root.querySelector("input");
    this.observer = new ResizeObserver(() => this.layout());
    root.values = (panel) => this.panels[panel].values(this.n);
    root.seek = (n) => this.show(n);
    this.listen();
  }

  receive(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const start = 4 + view.getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
    this.recolour();
    if (header.digest !== this.digest) this.load(header, new Float32Array(bytes.slice(start).buffer));
    else this.show(this.n);
    this.observer.observe(this.root);
    this.root.dataset.ready = header.digest;
  }

  load(header, floats) {
    const { ticks, said, counts, start, digest } = header;
    const kept = this.ticks?.length === ticks.length ? this.n : start;
    Object.assign(this, { ticks, said, counts, digest });
    const pointed = this.root.querySelector(".pointed");
    pointed.textContent = "";
    this.panels = header.panels.map((panel) => new PANELS[panel.kind](panel, floats, pointed));
    const box = this.root.querySelector(".panels");
    box.classList.toggle("two", this.panels.length > 1);
    box.replaceChildren(...this.panels.map(({ element }) => element));
    this.slider.max = ticks.length - 1;
    this.root.querySelector(".transport").hidden = ticks.length < 2;
    this.n = kept;
    this.layout();
  }

  recolour() {
    this.colours = new Colours(this.root);
    this.colours.rules.forEach((colour, n) => this.root.style.setProperty(`--c${n}`, colour));
  }

  layout() {
    if (!this.panels) return;
    const phone = innerWidth < PHONE;
    const high = phone ? (this.panels.length > 1 ? 170 : 230) : 250; // CSS pixels of a chart
    const widths = this.panels.map(({ element }) => element.clientWidth);
    this.panels.forEach((panel, i) => {
      if (!widths[i]) return;
      panel.recolour?.(this.colours);
      panel.layout({ width: widths[i], high, phone });
    });
    if (widths.every(Boolean)) this.show(this.n);
  }

  show(n) {
    this.n = Math.min(Math.max(n, 0), this.ticks.length - 1);
    const { slider, ticks } = this;
    for (const panel of this.panels) {
      panel.recolour?.(this.colours);
      panel.show(this.n);
    }
    slider.value = this.n;
    slider.style.setProperty("--at", ticks.length > 1 ? this.n / (ticks.length - 1) : 0);
    slider.setAttribute("aria-valuetext", ticks[this.n]);
    this.root.querySelector(".counts").textContent = `${this.counts}: ${ticks[this.n]}`;
    const said = this.root.querySelector(".said");
    if (said.textContent !== this.said[this.n]) said.textContent = this.said[this.n];
    this.root.dataset.frame = this.n;
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => {
      if (this.n === this.ticks.length - 1) return this.play(false);
      this.show(this.n + 1);
    }, 1000 / PER_SECOND) : null;
    const button = this.root.querySelector(".play");
    button.classList.toggle("on", on);
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  listen() {
    const on = (selector, type, act) => this.root.querySelector(selector).addEventListener(type, act);
    const step = (by) => { this.play(false); this.show(this.n + by); };
    on(".back", "click", () => step(-1));
    on(".forward", "click", () => step(1));
    on(".play", "click", () => {
      const start = !this.timer;
      if (start && this.n === this.ticks.length - 1) this.show(0);
      this.play(start);
    });
    this.slider.addEventListener("input", () => { this.play(false); this.show(this.slider.valueAsNumber); });
  }

  stop() {
    this.play(false);
    this.observer.disconnect();
  }
}

export default function mount({ data, parentElement }) {
  const root = parentElement.querySelector(".reel");
  if (!reels.has(root)) reels.set(root, new Reel(root));
  const reel = reels.get(root);
  const call = Symbol("call");
  reel.call = call;
  reel.receive(data);
  return () => {
    if (reel.call === call) reel.stop();
  };
}
