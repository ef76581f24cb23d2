// The part of each matrix that the maps show: the whole memory, or what was zoomed into. All maps show the same part.

const FEWEST = 4; // rows, or columns, of the closest view

class View {
  constructor(V, K) {
    Object.assign(this, { V, K });
    this.set(1, 0, 0);
  }

  /** Show the part that is so many times smaller than the whole, and begins at this row and column. */
  set(times, top, left) {
    const { V, K } = this;
    const within = (x, most) => Math.min(Math.max(x, 0), most);
    this.times = Math.max(1, Math.min(times, this.most));
    this.rows = Math.max(Math.min(V, FEWEST), Math.round(V / this.times));
    this.columns = Math.max(Math.min(K, FEWEST), Math.round(K / this.times));
    this.top = within(top, V - this.rows); // not rounded, so that small movements add up
    this.left = within(left, K - this.columns);
    this.i = Math.round(this.top);
    this.j = Math.round(this.left);
  }

  /** How many times smaller than the whole the closest view is. */
  get most() {
    return Math.max(this.V, this.K) / FEWEST;
  }

  get isWhole() {
    return this.rows === this.V && this.columns === this.K;
  }

  get isClosest() {
    return this.times >= this.most;
  }

  /** Zoom by a factor; what is at these shares of the view, from its top and its left, stays there. */
  zoom(factor, down = 0.5, across = 0.5) {
    const { rows, columns, top, left } = this;
    const times = Math.max(1, Math.min(this.times * factor, this.most));
    const [after, beside] = [this.V / times, this.K / times];
    this.set(times, top + down * (rows - after), left + across * (columns - beside));
  }

  /** Move by shares of the view. */
  move(down, across) {
    this.set(this.times, this.top + down * this.rows, this.left + across * this.columns);
  }

  /** Move as little as brings an entry into view. */
  reach(i, j) {
    const near = (at, first, count) => Math.min(Math.max(first, at - count + 1), at);
    const [top, left] = [near(i, this.i, this.rows), near(j, this.j, this.columns)];
    if (top !== this.i || left !== this.j) this.set(this.times, top, left);
  }

  /** The part of the normaliser, one row of K, that stands below the maps. */
  get row() {
    return { i: 0, j: this.j, rows: 1, columns: this.columns };
  }

  /** Say what is shown. */
  get said() {
    if (this.isWhole) return "the whole memory";
    const [bottom, right] = [this.i + this.rows - 1, this.j + this.columns - 1];
    return `value channels ${this.i} to ${bottom} of ${this.V}, key channels ${this.j} to ${right} of ${this.K}`;
  }
}

/** Have ctrl and the wheel, a drag by mouse, and two fingers on a map change the view. */
function listenToZoom(rules, { view, changed }) {
  const shares = (frame, x, y) => {
    const { left, top, width, height } = frame.getBoundingClientRect();
    return [(y - top) / height, (x - left) / width];
  };
  rules.addEventListener("wheel", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame || !event.ctrlKey) return;
    event.preventDefault(); // the page does not zoom
    view().zoom(2 ** (-event.deltaY / 100), ...shares(frame, event.clientX, event.clientY));
    changed();
  }, { passive: false });

  let drag = null;
  rules.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".frame");
    drag = frame && event.pointerType === "mouse" && !view().isWhole ? { frame, x: event.clientX, y: event.clientY } : null;
  });
  rules.addEventListener("pointermove", ({ clientX, clientY, buttons }) => {
    if (!drag || !(buttons & 1)) return;
    const { width, height } = drag.frame.getBoundingClientRect();
    view().move((drag.y - clientY) / height, (drag.x - clientX) / width);
    Object.assign(drag, { x: clientX, y: clientY });
    changed();
  });

  let fingers = null;
  const pinch = (frame, [a, b]) => ({
    frame,
    distance: Math.max(Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), 1),
    at: shares(frame, (a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2),
  });
  const begin = ({ touches, target }) => {
    const frame = target.closest(".frame");
    fingers = frame && touches.length === 2 ? pinch(frame, touches) : null;
  };
  for (const type of ["touchstart", "touchend", "touchcancel"]) rules.addEventListener(type, begin, { passive: true });
  rules.addEventListener("touchmove", (event) => {
    if (!fingers || event.touches.length !== 2) return;
    if (event.cancelable) event.preventDefault(); // one finger scrolls the page, two do not
    const next = pinch(fingers.frame, event.touches);
    view().zoom(next.distance / fingers.distance, ...fingers.at);
    view().move(fingers.at[0] - next.at[0], fingers.at[1] - next.at[1]);
    fingers = next;
    changed();
  }, { passive: false });
}
