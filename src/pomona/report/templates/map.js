"use strict";
// The map: points on a canvas, drawn pixel by pixel. Without a graphics processor a canvas draws
// some thousand shapes a frame, but an array takes a hundred thousand small stamps in milliseconds.
(async () => {
  const $ = (id) => document.getElementById(id);
  const canvas = $("chart"), tip = $("tip"), said = $("map-said");
  if (!canvas) return;
  const data = JSON.parse($("map-data").textContent);
  const context = canvas.getContext("2d");
  const colours = 8, shapes = 6, steps = 65535;

  // ---- what is drawn -------------------------------------------------------------------------
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const numbers = (bytes) => {
    const half = bytes.length / 2;
    return Uint16Array.from({length: half}, (_, i) => bytes[i] * 256 + bytes[half + i]);
  };
  let values, kinds, paths;
  try {
    values = numbers(await unpack(data.values));
    kinds = {label: numbers(await unpack(data.label_of)), split: numbers(await unpack(data.split_of))};
    paths = new TextDecoder().decode(await unpack(data.paths)).split("\0");
  } catch (error) {
    $("map-trouble").hidden = false;
    return;
  }
  const count = data.count;
  const names = {label: data.labels, split: data.splits};
  // In an order by chance, so that no label hides the others by being drawn last.
  const order = shuffled(count), placeOf = new Uint32Array(count);
  order.forEach((from, to) => { placeOf[from] = to; });
  const mixed = (array) => Uint16Array.from(order, (from) => array[from]);
  const axis = data.axes.map((_, a) => mixed(values.subarray(a * count, (a + 1) * count)));
  kinds = {label: mixed(kinds.label), split: mixed(kinds.split)};
  paths = Array.from(order, (from) => paths[from]);
  // Where there is one axis, points are spread across it so that they can be told apart.
  if (axis.length === 1) axis.push(Uint16Array.from({length: count}, (_, i) => (i * 40503) % steps));
  const sheets = [...document.querySelectorAll("img.sheet")];
  const pictured = data.pictures.map(([point, sheet, column, row]) =>
    ({point: placeOf[point], sheet, column, row}));
  const pictureOf = new Map(pictured.map((picture) => [picture.point, picture]));

  const view = {x: 0, y: 1, centreX: 0.5, centreY: 0.5, zoom: 1, kind: data.kind, pictures: data.pictures.length > 0};
  const chosen = new Set();
  const hung = [];
  let hovered = -1, pinned = -1, previewed = -1, theme, pending = false;

  function shuffled(n) {
    const found = Uint32Array.from({length: n}, (_, i) => i);
    for (let i = n - 1, seed = 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = seed % (i + 1), kept = found[i];
      found[i] = found[j];
      found[j] = kept;
    }
    return found;
  }

  // ---- colours and shapes --------------------------------------------------------------------
  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    theme = {
      card: packed(read("--card")), line: packed(read("--line")), ink: read("--ink"),
      soft: read("--soft"), faded: packed(read("--faded")), plate: read("--card"),
      palette: Array.from({length: colours}, (_, i) => read(`--p${i}`)),
    };
    theme.packed = theme.palette.map(packed);
  }
  function packed(hex) {
    const full = hex.length === 4 ? hex.replace(/[0-9a-f]/gi, "$&$&") : hex;
    const n = parseInt(full.slice(1), 16);
    return ((255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
  }
  // Up to eight chosen labels take colours and shapes of their own; else each has its fixed one.
  function style(kind) {
    if (chosen.size && chosen.size <= colours && chosen.has(kind)) {
      const place = [...chosen].indexOf(kind);
      return {colour: place, shape: place % shapes};
    }
    return {colour: kind % colours, shape: Math.floor(kind / colours) % shapes};
  }
  const inside = [
    (x, y) => x * x + y * y <= 1,
    (x, y) => Math.max(Math.abs(x), Math.abs(y)) <= 0.86,
    (x, y) => y <= 0.75 && Math.abs(x) * 1.75 <= y + 1.05,
    (x, y) => Math.abs(x) + Math.abs(y) <= 1.15,
    (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= 0.34 && Math.max(Math.abs(x), Math.abs(y)) <= 1.1,
    (x, y) => Math.min(Math.abs(x - y), Math.abs(x + y)) <= 0.48 && Math.max(Math.abs(x), Math.abs(y)) <= 0.9,
  ];
  const stamps = new Map();
  function stamp(shape, radius, width) {
    const key = `${shape} ${radius} ${width}`;
    if (!stamps.has(key)) {
      const reach = Math.ceil(radius * 1.2), offsets = [], alphas = [], fine = 4;
      for (let y = -reach; y <= reach; y++) {
        for (let x = -reach; x <= reach; x++) {
          let hits = 0;
          for (let s = 0; s < fine * fine; s++) {
            const dx = (s % fine + 0.5) / fine - 0.5, dy = (Math.floor(s / fine) + 0.5) / fine - 0.5;
            hits += inside[shape]((x + dx) / radius, (y + dy) / radius);
          }
          if (hits) {
            offsets.push(y * width + x);
            alphas.push(Math.round((hits / (fine * fine)) * 232));
          }
        }
      }
      const full = offsets.filter((_, k) => alphas[k] > 110);
      if (stamps.size > 200) stamps.clear();
      stamps.set(key, {offsets: Int32Array.from(offsets), alphas: Uint8Array.from(alphas),
                       full: Int32Array.from(full)});
    }
    return stamps.get(key);
  }

  // ---- drawing -------------------------------------------------------------------------------
  const margin = 16;
  let buffer, image, wide, high, ratio;
  function resize() {
    ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = canvas.getBoundingClientRect();
    wide = Math.max(1, Math.round(box.width * ratio));
    high = Math.max(1, Math.round(box.height * ratio));
    canvas.width = wide;
    canvas.height = high;
    image = new ImageData(wide + 2 * margin, high + 2 * margin);
    buffer = new Uint32Array(image.data.buffer);
    stamps.clear();
    draw();
  }
  function draw() {
    if (buffer && !pending) {
      pending = true;
      requestAnimationFrame(() => { pending = false; render(); });
    }
  }
  const frame = () => {
    const spare = 14 * ratio, left = 44 * ratio + spare, below = 34 * ratio + spare;
    return {left, below, spare, width: wide - left - spare, height: high - below - spare};
  };
  // What the points may cover: a little more than where they lie at first.
  const plot = () => {
    const {left, below, spare} = frame();
    return {left: left - spare, below: below - spare, spare};
  };
  // Screen = zero + step * value, in device pixels.
  function scales() {
    const {left, spare, width, height} = frame();
    const stepX = (width * view.zoom) / steps, stepY = (height * view.zoom) / steps;
    return {
      stepX, stepY,
      zeroX: left + width / 2 - view.centreX * width * view.zoom,
      zeroY: spare + height / 2 + view.centreY * height * view.zoom,
    };
  }
  function radius() {
    const base = count > 40000 ? 1.5 : count > 10000 ? 2 : count > 2000 ? 2.8 : 3.8;
    return Math.round(Math.min(9, base * Math.pow(view.zoom, 0.4)) * ratio * 4) / 4;
  }
  function ticks(a, zero, step, from, to) {
    const {low, high: top} = data.axes[a] || {low: 0, high: 1};
    const unit = (top - low || 1) / steps, size = Math.abs(to - from) * unit / Math.abs(step);
    const rough = size / (5 * Math.max(0.6, Math.abs(to - from) / ratio / 700));
    const power = Math.pow(10, Math.floor(Math.log10(rough)));
    const pace = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough) || power;
    const at = (screen) => low + ((screen - zero) / step) * unit;
    const first = Math.min(at(from), at(to)), last = Math.max(at(from), at(to));
    const found = [];
    for (let v = Math.ceil(first / pace) * pace; v <= last && found.length < 40; v += pace) {
      found.push({screen: zero + ((v - low) / unit) * step,
                  text: Number(v.toPrecision(6)).toLocaleString("en", {maximumFractionDigits: 3})});
    }
    return found;
  }
  function render() {
    const width = wide + 2 * margin, {left, below, spare} = plot();
    const {stepX, stepY, zeroX, zeroY} = scales();
    const across = data.axes[view.x] ? ticks(view.x, zeroX, stepX, left, wide - spare) : [];
    const up = data.axes[view.y] ? ticks(view.y, zeroY, -stepY, spare, high - below) : [];
    buffer.fill(theme.card);
    for (const {screen} of across) {
      let at = (margin + spare) * width + margin + Math.round(screen);
      for (let y = spare; y < high - below; y++, at += width) buffer[at] = theme.line;
    }
    for (const {screen} of up) {
      const at = (margin + Math.round(screen)) * width + margin;
      buffer.fill(theme.line, at + Math.round(left), at + Math.round(wide - spare));
    }
    const xs = axis[view.x], ys = axis[view.y], of = kinds[view.kind], size = radius();
    const total = names[view.kind].length;
    const looked = previewed >= 0 ? new Set([previewed]) : chosen;
    const styles = Array.from({length: total}, (_, kind) => style(kind));
    const tint = styles.map(({colour}) => theme.packed[colour]);
    const plain = size < 2.2 * ratio;
    const marks = styles.map(({shape}) => stamp(plain ? 0 : shape, size, width));
    const small = stamp(0, Math.max(1, size * 0.8), width);
    for (let pass = looked.size ? 0 : 1; pass < 2; pass++) {
      for (let i = 0; i < count; i++) {
        const kind = of[i];
        const isLooked = !looked.size || looked.has(kind);
        if (isLooked !== (pass === 1)) continue;
        const x = Math.round(zeroX + xs[i] * stepX), y = Math.round(zeroY - ys[i] * stepY);
        if (x < 0 || y < 0 || x >= wide || y >= high) continue;
        const {offsets, alphas, full} = pass ? marks[kind] : small;
        const colour = pass ? tint[kind] : theme.faded;
        if (moving) {
          const at = (y + margin) * width + x + margin;
          for (let k = 0; k < full.length; k++) buffer[at + full[k]] = colour;
          continue;
        }
        const redBlue = colour & 0xff00ff, green = colour & 0xff00;
        const at = (y + margin) * width + x + margin;
        for (let k = 0; k < offsets.length; k++) {
          const where = at + offsets[k], below = buffer[where], a = alphas[k], b = 256 - a;
          buffer[where] = 0xff000000
            | (((redBlue * a + (below & 0xff00ff) * b) >>> 8) & 0xff00ff)
            | (((green * a + (below & 0xff00) * b) >>> 8) & 0xff00);
        }
      }
    }
    context.putImageData(image, -margin, -margin);
    hung.length = 0;
    if (view.pictures) drawPictures(xs, ys, of, looked);
    mark(pinned, xs, ys);
    mark(hovered, xs, ys);
    drawAxes(across, up);
    if (document.activeElement === canvas && keyed) crosshair();
    canvas.dataset.drawn = "yes";
  }
  function drawAxes(across, up) {
    const {left, below, spare} = plot();
    context.fillStyle = theme.plate;
    context.fillRect(0, high - below, wide, below);
    context.fillRect(0, 0, left, high);
    context.fillStyle = theme.soft;
    context.font = `${11 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    for (const {screen, text} of across) context.fillText(text, screen, high - below + 13 * ratio);
    context.textAlign = "right";
    for (const {screen, text} of up) context.fillText(text, left - 5 * ratio, screen + 4 * ratio);
    context.fillStyle = theme.ink;
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    context.fillText(axisName(view.x, " →"), wide - spare, high - 5 * ratio);
    context.save();
    context.translate(12 * ratio, spare);
    context.rotate(-Math.PI / 2);
    context.fillText(axisName(view.y, " →"), 0, 0);
    context.restore();
  }
  function axisName(a, end) {
    if (!data.axes[a]) return "no second axis: spread out";
    return `axis ${a + 1}, ${(100 * data.axes[a].share).toFixed(1)} % of the variance${end}`;
  }
  function drawPictures(xs, ys, of, looked) {
    const {stepX, stepY, zeroX, zeroY} = scales();
    const side = (wide / ratio < 500 ? 30 : 38) * ratio, cell = side * 1.5, border = 2 * ratio;
    const taken = new Set();
    for (const {point, sheet, column, row} of pictured) {
      if (looked.size && !looked.has(of[point])) continue;
      const x = zeroX + xs[point] * stepX, y = zeroY - ys[point] * stepY;
      if (x < -side || y < -side || x > wide + side || y > high + side) continue;
      // Cells lie on the map, not on the screen, so that pictures stay while it is dragged.
      const cx = Math.floor((xs[point] * stepX) / cell), cy = Math.floor((ys[point] * stepY) / cell);
      if (taken.has(`${cx} ${cy}`)) continue;
      taken.add(`${cx} ${cy}`);
      const left = Math.round(zeroX + (cx + 0.5) * cell - side / 2);
      const top = Math.round(zeroY - (cy + 0.5) * cell - side / 2);
      context.fillStyle = theme.palette[style(of[point]).colour];
      context.fillRect(left - border, top - border, side + 2 * border, side + 2 * border);
      picture(context, sheet, column, row, left, top, side);
      hung.push({point, left, top, side});
    }
  }
  function picture(target, sheet, column, row, left, top, side) {
    const from = data.side;
    target.drawImage(sheets[sheet], column * from, row * from, from, from, left, top, side, side);
  }
  function mark(point, xs, ys) {
    if (point < 0) return;
    const {stepX, stepY, zeroX, zeroY} = scales();
    context.beginPath();
    context.arc(zeroX + xs[point] * stepX, zeroY - ys[point] * stepY, radius() + 4 * ratio, 0, 7);
    context.lineWidth = 2 * ratio;
    context.strokeStyle = theme.ink;
    context.stroke();
  }
  function crosshair() {
    const {left, spare, width, height} = frame(), x = left + width / 2, y = spare + height / 2;
    context.strokeStyle = theme.ink;
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(x - 9 * ratio, y);
    context.lineTo(x + 9 * ratio, y);
    context.moveTo(x, y - 9 * ratio);
    context.lineTo(x, y + 9 * ratio);
    context.stroke();
  }

  // ---- moving --------------------------------------------------------------------------------
  function pan(dx, dy) {
    const {width, height} = frame();
    view.centreX -= dx / (width * view.zoom);
    view.centreY += dy / (height * view.zoom);
    keepInside();
  }
  function zoomAt(factor, x, y) {
    const {left, spare, width, height} = frame();
    const zoom = Math.min(400, Math.max(1, view.zoom * factor));
    const dx = (x - left - width / 2) / width, dy = (y - spare - height / 2) / height;
    view.centreX += dx / view.zoom - dx / zoom;
    view.centreY -= dy / view.zoom - dy / zoom;
    view.zoom = zoom;
    keepInside();
  }
  // While the map moves its points are drawn plainly, and with soft edges once it rests.
  let moving = false, resting;
  function move() {
    moving = true;
    clearTimeout(resting);
    resting = setTimeout(() => { moving = false; draw(); }, 150);
    draw();
  }
  function keepInside() {
    const slack = 0.5 - 0.4 / view.zoom;
    view.centreX = Math.min(0.5 + slack, Math.max(0.5 - slack, view.centreX));
    view.centreY = Math.min(0.5 + slack, Math.max(0.5 - slack, view.centreY));
    $("zoom-whole").disabled = view.zoom === 1 && view.centreX === 0.5 && view.centreY === 0.5;
    move();
  }
  function whole() {
    Object.assign(view, {zoom: 1, centreX: 0.5, centreY: 0.5});
    keepInside();
  }
  // The picture at a place, or else the nearest point.
  function nearest(x, y, reach) {
    const there = hung.find(({left, top, side}) =>
      x >= left && y >= top && x <= left + side && y <= top + side);
    if (there) return there.point;
    const {stepX, stepY, zeroX, zeroY} = scales();
    const xs = axis[view.x], ys = axis[view.y], of = kinds[view.kind];
    let best = reach * reach, found = -1;
    for (let i = 0; i < count; i++) {
      if (chosen.size && !chosen.has(of[i])) continue;
      const dx = zeroX + xs[i] * stepX - x, dy = zeroY - ys[i] * stepY - y;
      const distance = dx * dx + dy * dy;
      if (distance < best) { best = distance; found = i; }
    }
    return found;
  }
  function nearestPicture(point) {
    const xs = axis[view.x], ys = axis[view.y], of = kinds.label;
    let best = Infinity, found = null;
    for (const candidate of pictured) {
      if (of[candidate.point] !== of[point]) continue;
      const dx = xs[candidate.point] - xs[point], dy = ys[candidate.point] - ys[point];
      if (dx * dx + dy * dy < best) { best = dx * dx + dy * dy; found = candidate; }
    }
    return found;
  }

  // ---- what one point is ---------------------------------------------------------------------
  function about(point) {
    const label = data.labels[kinds.label[point]], split = data.splits[kinds.split[point]];
    const places = [view.x, view.y].filter((a) => data.axes[a]).map((a) => {
      const {low, high: top} = data.axes[a];
      return `axis ${a + 1}: ${(low + (axis[a][point] / steps) * (top - low)).toFixed(2)}`;
    });
    return {label: label || "(no label)", path: paths[point],
            more: [split, ...places].filter(Boolean).join(" · ")};
  }
  function tell(point, x, y, docked) {
    tip.hidden = point < 0;
    if (point < 0) return;
    const {label, path, more} = about(point), drawn = $("tip-picture");
    const own = pictureOf.get(point), shown = own || nearestPicture(point);
    drawn.hidden = !shown;
    if (shown) {
      const brush = drawn.getContext("2d");
      brush.imageSmoothingQuality = "high";
      picture(brush, shown.sheet, shown.column, shown.row, 0, 0, drawn.width);
    }
    $("tip-label").textContent = label;
    broken($("tip-path"), path);
    $("tip-more").textContent = more;
    $("tip-other").textContent = !shown || own ? ""
      : `Pictured: the nearest one of its label, ${paths[shown.point].split("/").pop()}`;
    tip.classList.toggle("docked", docked);
    if (!docked) {
      const box = canvas.getBoundingClientRect();
      const left = x + 18 + tip.offsetWidth > box.width ? x - 18 - tip.offsetWidth : x + 18;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.max(4, Math.min(y + 12, box.height - tip.offsetHeight - 4))}px`;
    } else {
      tip.style.left = tip.style.top = "";
    }
  }
  // As text, with places after each slash where a line may end.
  function broken(element, path) {
    const parts = path.split("/");
    element.replaceChildren(...parts.flatMap((part, i) =>
      i < parts.length - 1 ? [`${part}/`, document.createElement("wbr")] : [part]));
  }
  let saying;
  function say(point) {
    clearTimeout(saying);
    saying = setTimeout(() => {
      if (point < 0) { said.textContent = "No image near the middle."; return; }
      const {label, path, more} = about(point);
      said.textContent = `${label}. ${path}. ${more}`;
    }, 350);
  }

  // ---- pointer -------------------------------------------------------------------------------
  const pointers = new Map();
  let moved = 0, gap = 0, lastScroll = -1e9, keyed = false;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return {x: event.clientX - box.left, y: event.clientY - box.top};
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    keyed = false;
    moved = pointers.size > 1 ? 99 : 0;
    gap = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event), before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") hover(now, false);
      return;
    }
    pointers.set(event.pointerId, now);
    if (pointers.size === 1) {
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (moved > 4) {
        hovered = -1;
        if (pinned < 0) tip.hidden = true;
        canvas.classList.add("dragged");
        pan((now.x - before.x) * ratio, (now.y - before.y) * ratio);
        if (pinned >= 0) unpin();
      }
      return;
    }
    const [a, b] = [...pointers.values()];
    const apart = Math.hypot(a.x - b.x, a.y - b.y);
    const x = ((a.x + b.x) / 2) * ratio, y = ((a.y + b.y) / 2) * ratio;
    pan(((now.x - before.x) / 2) * ratio, ((now.y - before.y) / 2) * ratio);
    if (gap) zoomAt(apart / gap, x, y);
    gap = apart;
  });
  function lift(event) {
    const at = pointers.get(event.pointerId);
    pointers.delete(event.pointerId);
    gap = 0;
    canvas.classList.remove("dragged");
    if (at && event.type === "pointerup" && moved <= 4 && !pointers.size) {
      const touch = event.pointerType !== "mouse";
      const point = nearest(at.x * ratio, at.y * ratio, (touch ? 28 : 14) * ratio);
      pinned = point === pinned ? -1 : point;
      tell(pinned, at.x, at.y, touch);
      draw();
    }
  }
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => {
    if (hovered >= 0) { hovered = -1; draw(); }
    if (pinned < 0) tip.hidden = true;
  });
  canvas.addEventListener("dblclick", (event) => {
    const at = place(event);
    unpin();
    zoomAt(event.shiftKey ? 0.5 : 2, at.x * ratio, at.y * ratio);
  });
  function hover(at, docked) {
    if (pinned >= 0) return;
    const point = nearest(at.x * ratio, at.y * ratio, 14 * ratio);
    tell(point, at.x, at.y, docked);
    if (point !== hovered) { hovered = point; draw(); }
  }
  function unpin() {
    pinned = -1;
    tip.hidden = true;
    draw();
  }
  // A page that is being scrolled goes on to scroll where the map comes under the pointer.
  window.addEventListener("scroll", () => { lastScroll = performance.now(); }, {passive: true});
  canvas.addEventListener("wheel", (event) => {
    const now = performance.now();
    if (now - lastScroll < 250 && !event.ctrlKey) { lastScroll = now; return; }
    event.preventDefault();
    const at = place(event), unit = event.deltaMode === 1 ? 30 : 1;
    zoomAt(Math.exp(-event.deltaY * unit * 0.0018), at.x * ratio, at.y * ratio);
    if (pinned < 0) hover(at, false);
  }, {passive: false});

  // ---- keyboard and buttons ------------------------------------------------------------------
  const middle = () => {
    const {left, spare, width, height} = frame();
    return {x: left + width / 2, y: spare + height / 2};
  };
  function lookAtMiddle() {
    const {x, y} = middle();
    hovered = nearest(x, y, Math.min(x, y));
    tell(hovered, 0, 0, true);
    say(hovered);
    draw();
  }
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pace = 60 * ratio, {x, y} = middle();
    const moves = {
      ArrowLeft: () => pan(pace, 0), ArrowRight: () => pan(-pace, 0),
      ArrowUp: () => pan(0, pace), ArrowDown: () => pan(0, -pace),
      "+": () => zoomAt(1.5, x, y), "=": () => zoomAt(1.5, x, y), "-": () => zoomAt(1 / 1.5, x, y),
      "0": whole, Escape: unpin,
      Enter: () => { if (hovered >= 0) toggle(kinds[view.kind][hovered]); },
    };
    const act = moves[event.key];
    if (!act) return;
    event.preventDefault();
    keyed = true;
    pinned = -1;
    act();
    if (event.key !== "Escape") lookAtMiddle();
  });
  canvas.addEventListener("focus", () => {
    keyed = canvas.matches(":focus-visible") && !pointers.size;
    if (keyed) lookAtMiddle();
  });
  canvas.addEventListener("blur", () => {
    hovered = -1;
    if (pinned < 0) tip.hidden = true;
    draw();
  });
  $("zoom-in").addEventListener("click", () => zoomAt(1.6, middle().x, middle().y));
  $("zoom-out").addEventListener("click", () => zoomAt(1 / 1.6, middle().x, middle().y));
  $("zoom-whole").addEventListener("click", whole);
  const toggles = $("pictures");
  toggles.disabled = !pictured.length;
  toggles.setAttribute("aria-pressed", view.pictures);
  toggles.addEventListener("click", () => {
    view.pictures = !view.pictures;
    toggles.setAttribute("aria-pressed", view.pictures);
    draw();
  });
  for (const [id, key] of [["axis-across", "x"], ["axis-up", "y"]]) {
    const select = $(id);
    data.axes.forEach((one, a) => {
      const share = `${(100 * one.share).toFixed(1)} %`;
      select.append(new Option(`axis ${a + 1} (${share})`, a, false, a === view[key]));
    });
    select.disabled = data.axes.length < 2;
    select.addEventListener("change", () => {
      view[key] = Number(select.value);
      unpin();
      whole();
    });
  }
  const by = $("colour-by");
  by.value = view.kind;
  by.addEventListener("change", () => {
    view.kind = by.value;
    chosen.clear();
    list();
    draw();
  });

  // ---- the list of labels --------------------------------------------------------------------
  const rows = $("labels"), search = $("label-search");
  let buttons = [];
  function list() {
    const of = kinds[view.kind], counts = new Array(names[view.kind].length).fill(0);
    for (let i = 0; i < count; i++) counts[of[i]]++;
    buttons = names[view.kind].map((name, kind) => {
      const button = document.createElement("button"), label = document.createElement("bdi");
      const swatch = document.createElement("canvas"), number = document.createElement("span");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      label.textContent = name || "(none)";
      number.textContent = counts[kind].toLocaleString("en");
      button.append(swatch, label, number);
      button.addEventListener("click", () => toggle(kind));
      const preview = (on) => () => { previewed = on ? kind : -1; draw(); };
      button.addEventListener("pointerenter", (e) => { if (e.pointerType === "mouse") preview(true)(); });
      button.addEventListener("pointerleave", preview(false));
      const item = document.createElement("li");
      item.append(button);
      return {item, button, swatch, name: (name || "(none)").toLowerCase()};
    });
    rows.replaceChildren(...buttons.map(({item}) => item));
    swatches();
    find();
  }
  function swatches() {
    buttons.forEach(({button, swatch}, kind) => {
      const {colour, shape} = style(kind), on = !chosen.size || chosen.has(kind), side = 16 * 2;
      swatch.width = swatch.height = side;
      const brush = swatch.getContext("2d");
      brush.fillStyle = on ? theme.palette[colour] : theme.soft;
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++) {
          const r = side * 0.4;
          if (inside[shape]((x + 0.5 - side / 2) / r, (y + 0.5 - side / 2) / r)) brush.fillRect(x, y, 1, 1);
        }
      }
      button.setAttribute("aria-pressed", chosen.has(kind));
    });
    $("label-clear").hidden = !chosen.size;
  }
  function toggle(kind) {
    if (!chosen.delete(kind)) chosen.add(kind);
    pinned = -1;
    tip.hidden = true;
    swatches();
    draw();
  }
  function find() {
    const text = search.value.trim().toLowerCase();
    let found = 0;
    for (const {item, name} of buttons) {
      item.hidden = !name.includes(text);
      found += !item.hidden;
    }
    $("label-none").hidden = found > 0;
  }
  search.addEventListener("input", find);
  $("label-clear").addEventListener("click", () => {
    chosen.clear();
    swatches();
    draw();
    search.focus();
  });

  // ---- begin ---------------------------------------------------------------------------------
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => { readTheme(); swatches(); draw(); });
  readTheme();
  list();
  await Promise.all(sheets.map((sheet) => sheet.decode().catch(() => {})));
  new ResizeObserver(resize).observe(canvas);
  $("map-tools").hidden = false;
  keepInside();
})();
