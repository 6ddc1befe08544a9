// A task tree to click, its costs, its score, and what was measured of it. data: tasks, colours; stages and fixed, GMACs
// of one group through each stage and of what always runs; per_rank, adapter numbers by stage, and rank; similarity;
// presets, [name, tree]; trained, {tree, delta_m, sd, seeds}. A tree is, stage by stage, the group of each task.
const n = data.tasks.length, S = data.stages.length;
const tidy = stage => { const seen = [...new Set(stage)]; return stage.map(group => seen.indexOf(group)); };
const key = tree => tree.map(stage => tidy(stage).join("")).join(" ");
const count = stage => new Set(stage).size;
const trained = new Map(data.trained.map(row => [key(row.tree), row]));
let tree = data.presets[0][1].map(tidy), said = "";

// Tasks in an order in which every group stands together.
const leaves = tree => data.tasks.map((_, i) => i).sort((a, b) => {
  const s = tree.findIndex(stage => stage[a] !== stage[b]);
  return s < 0 ? a - b : tree[s][a] - tree[s][b];
});
const gmacs = counts => data.fixed + sum(counts.map((groups, s) => groups * data.stages[s]));
const numbers = counts => data.rank * sum(counts.map((groups, s) => groups * data.per_rank[s]));
function score(tree) { // mean over stages of the mean over the pairs that share a group there
  const means = tree.flatMap(stage => {
    const pairs = stage.flatMap((group, i) => stage.flatMap((other, j) => i < j && group === other ? [data.similarity[i][j]] : []));
    return pairs.length ? [sum(pairs) / pairs.length] : [];
  });
  return means.length ? sum(means) / means.length : 0;
}

// Gives a task its next place at a stage: with each of the other groups of its parent, then alone. Later stages follow.
function move(task, s) {
  const parent = s ? tree[s - 1] : tree[s].map(() => 0), near = i => i !== task && parent[i] === parent[task];
  const others = [...new Set(tree[s].filter((_, i) => near(i)))];
  if (!others.length) {
    said = `${data.tasks[task]} has left the others before stage ${s + 1}, and tasks that have separated stay separated. Join them in stage ${s} first.`;
    return;
  }
  const alone = !others.includes(tree[s][task]), places = [...others, n];
  const next = places[(alone ? 0 : others.indexOf(tree[s][task]) + 1) % places.length];
  tree = tree.map(stage => [...stage]);
  tree[s][task] = next;
  for (let t = s + 1; t < S; t++) tree[t] = tree[t].map((group, i) => `${tree[t - 1][i]} ${group}`);
  tree = tree.map(tidy);
  said = "";
}

function strands(tree, width, height, {left, right, gap, dot}) {
  const order = leaves(tree), rows = i => height * (order.indexOf(i) + .5) / n;
  const x = s => left + (width - left - right) * (s + .5) / S;
  const y = (i, s) => { // around the middle of its group
    const own = order.filter(j => tree[s][j] === tree[s][i]);
    return sum(own.map(rows)) / own.length + gap * (own.indexOf(i) - (own.length - 1) / 2);
  };
  const paths = data.tasks.map((_, i) => {
    const middle = sum(data.tasks.map((_, j) => rows(j))) / n + gap * (order.indexOf(i) - (n - 1) / 2);
    const points = [[0, middle], ...tree.map((_, s) => [x(s), y(i, s)]), [width - right, rows(i)]];
    const d = points.map(([px, py], k) => {
      if (!k) return `M${px},${py}`;
      const [qx, qy] = points[k - 1], half = (px + qx) / 2;
      return `C${half},${qy} ${half},${py} ${px},${py}`;
    }).join("");
    return svg("path", {d, fill: "none", stroke: data.colours[i], "stroke-width": dot ? 5 : 2.5});
  });
  return {paths, x, y, rows};
}

const big = html("div"), facts = html("dl", {class: "facts"}), words = html("p", {role: "status"}), gallery = html("div", {class: "row gallery"});
const presets = html("div", {class: "row"}, html("div", {class: "choice"}, ...data.presets.map(([name, own]) =>
  html("button", {onclick: () => take(own)}, name))));
root.replaceChildren(presets, big, facts, words);
if (data.trained.length) {
  root.append(html("p", {class: "quiet"}, "Trees that were trained, by their measured Δm: the mean gain over a model per task, ± its standard deviation from seed to seed. Click one."), gallery);
}
const take = own => { tree = own.map(tidy); said = ""; show(); };

function show() {
  const counts = tree.map(count), row = trained.get(key(tree));
  const ends = [tree.map(() => 1), tree.map(() => n)].map(gmacs), here = gmacs(counts);
  const told = [["groups", `(${counts.join(", ")})`], ["GMACs", here.toFixed(2)],
    ["of the way from one LoRA to one per task", percent((here - ends[0]) / (ends[1] - ends[0]))],
    [`adapter numbers at rank ${data.rank}`, whole(numbers(counts))], ["score: similarity within groups", signed(score(tree), 3)],
    ["Δm, measured", row ? `${signed(row.delta_m, 2)} %${row.sd === null ? "" : ` ± ${row.sd.toFixed(2)}`}` : "not trained"]];
  tell(facts, told);
  words.textContent = said;
  presets.querySelectorAll("button").forEach((button, k) => button.setAttribute("aria-pressed", key(data.presets[k][1]) === key(tree)));
  const best = [...data.trained].sort((a, b) => b.delta_m - a.delta_m);
  gallery.replaceChildren(...best.map(row => html("button", {
    "aria-pressed": key(row.tree) === key(tree),
    onclick: () => { take(row.tree); gallery.querySelector("[aria-pressed=true]").focus({preventScroll: true}); },
    "aria-label": `tree with ${row.tree.map(count).join(", ")} groups`},
    svg("svg", {width: 104, height: 44}, ...strands(row.tree, 104, 44, {left: 0, right: 4, gap: 3}).paths),
    `${signed(row.delta_m, 2)} ± ${row.sd === null ? "?" : row.sd.toFixed(2)}`)));
  again();
}

const again = drawn(big, width => {
  const height = 46 * n, right = Math.min(120, Math.max(94, width * .2)), {paths, x, y, rows} = strands(tree, width, height, {left: 8, right, gap: 15, dot: true});
  const boxes = tree.flatMap((stage, s) => [...new Set(stage)].map(group => {
    const ys = stage.flatMap((own, i) => own === group ? [y(i, s)] : []);
    return svg("rect", {x: x(s) - 15, width: 30, y: Math.min(...ys) - 13, height: Math.max(...ys) - Math.min(...ys) + 26, rx: 8,
      fill: "currentColor", "fill-opacity": .1, stroke: "currentColor", "stroke-opacity": .3});
  }));
  const dots = tree.flatMap((stage, s) => stage.map((own, i) => {
    const go = () => { move(i, s); show(); big.querySelector(`[data-dot="${i} ${s}"]`)?.focus({preventScroll: true}); };
    const mates = data.tasks.filter((_, j) => j !== i && stage[j] === own);
    return svg("circle", {class: "click", cx: x(s), cy: y(i, s), r: 7, fill: data.colours[i], stroke: "#fff", "stroke-width": 1.5,
      tabindex: 0, role: "button", "data-dot": `${i} ${s}`,
      "aria-label": `stage ${s + 1}: ${data.tasks[i]}, ${mates.length ? `with ${mates.join(", ")}` : "alone"}`,
      onclick: go, onkeydown: event => { if ([" ", "Enter"].includes(event.key)) { event.preventDefault(); go(); } }});
  }));
  const titles = tree.map((_, s) => svg("text", {x: x(s), y: -6, "text-anchor": "middle"}, width < 480 ? s + 1 : `stage ${s + 1}`));
  const names = data.tasks.map((name, i) => svg("text", {x: width - right + 6, y: rows(i) + 4, style: `fill:${ink(data.colours[i])};font-weight:600`}, name));
  big.replaceChildren(svg("svg", {width, height, style: "margin-top:1.4rem"}, ...boxes, ...paths, ...dots, ...titles, ...names));
});
words.classList.add("quiet");
said = "Click a dot to move its task to the next group of that stage, or to a group of its own.";
show();
