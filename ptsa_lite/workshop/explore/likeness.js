// Ask a token who is like it. data: pictures, an address each; networks, by name and stage: {grid, dims, tokens}, unit
// vectors of frames, rows and columns in 8-bit numbers; start, {stage, frame, row, column}, shares of the height and width.
const names = Object.keys(data.networks), side = 192;
let {stage, frame, row, column} = data.start;
const bytes = text => Int8Array.from(atob(text), letter => letter.charCodeAt(0) << 24 >> 24);
const stacks = Object.fromEntries(names.map(name => [name, data.networks[name].map(map => ({...map, tokens: bytes(map.tokens)}))]));

// The cosine of the asking token with every token of every frame.
function likeness({grid, dims, tokens}) {
  const asking = (frame * grid + Math.min(Math.floor(row * grid), grid - 1)) * grid + Math.min(Math.floor(column * grid), grid - 1);
  const dot = (a, b) => { let total = 0; for (let k = 0; k < dims; k++) total += tokens[a * dims + k] * tokens[b * dims + k]; return total; };
  const length = a => Math.sqrt(dot(a, a)) || 1;
  return Float32Array.from({length: tokens.length / dims}, (_, b) => dot(asking, b) / length(asking) / length(b));
}

const pictures = data.pictures.map(source => html("img", {src: source, alt: ""}));
const canvases = names.map(() => pictures.map((_, f) => {
  const ask = event => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (at, size) => Math.min(Math.max(at / size, 0), .999);
    frame = f, row = share(event.clientY - box.top, box.height), column = share(event.clientX - box.left, box.width);
    show();
  };
  const walk = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  return html("canvas", {width: side, height: side, tabindex: 0, style: "width:100%;border-radius:4px;touch-action:pan-y;cursor:crosshair",
    "aria-label": `frame ${f + 1}: click to ask a token, arrows move it`, onpointerdown: ask, onpointermove: event => { if (event.buttons) ask(event); },
    onkeydown: event => {
      const by = walk[event.key];
      if (!by) return;
      event.preventDefault();
      const grid = stacks[names[0]][stage - 1].grid;
      frame = f, row = Math.min(Math.max(row + by[0] / grid, 0), .999), column = Math.min(Math.max(column + by[1] / grid, 0), .999);
      show();
    }});
}));
const rows = names.map((name, k) => html("div", {}, html("div", {}, name),
  html("div", {style: `display:grid;gap:6px;grid-template-columns:repeat(${pictures.length},minmax(0,1fr))`}, ...canvases[k])));
const facts = html("dl", {class: "facts"});
root.replaceChildren(html("div", {class: "row"}, choice("after stage", stacks[names[0]].map((_, s) => [s + 1, s + 1]), stage, value => { stage = value; show(); })),
  html("div", {style: "display:grid;gap:.8rem;max-width:44rem"}, ...rows), facts,
  html("p", {class: "quiet"}, "Click or drag on a picture. Red is alike, blue is opposite; the square is the token that asks."));

function show() {
  const told = names.map((name, k) => {
    const map = stacks[name][stage - 1], like = likeness(map), {grid} = map, cell = side / grid;
    canvases[k].forEach((canvas, f) => {
      const pen = canvas.getContext("2d");
      pen.filter = "grayscale(1) contrast(.6) brightness(1.3)";
      pen.drawImage(pictures[f], 0, 0, side, side);
      pen.filter = "none";
      for (let i = 0; i < grid * grid; i++) {
        const value = like[f * grid * grid + i];
        pen.fillStyle = value > 0 ? `rgba(190, 20, 40, ${.85 * value})` : `rgba(20, 80, 190, ${-.85 * value})`;
        pen.fillRect(i % grid * cell, Math.floor(i / grid) * cell, cell, cell);
      }
      if (f === frame) {
        pen.strokeStyle = "#fff", pen.lineWidth = 5;
        const box = [Math.floor(column * grid) * cell, Math.floor(row * grid) * cell, cell, cell];
        pen.strokeRect(...box);
        pen.strokeStyle = "#000", pen.lineWidth = 2;
        pen.strokeRect(...box);
      }
    });
    const elsewhere = like.filter((_, i) => Math.floor(i / grid / grid) !== frame);
    return [`${name}: alike by more than 0.5 in the other frames`, percent(elsewhere.filter(value => value > .5).length / elsewhere.length)];
  });
  tell(facts, told);
}
Promise.all(pictures.map(picture => picture.decode())).then(show);
