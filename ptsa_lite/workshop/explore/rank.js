// Rank against what the adapters reach. data: tasks, colours, total rank at the start; spectra, by the tasks that share
// a pair as "0+2": the squares of the singular values of their mean update; per_rank: numbers that a rank costs.
const n = data.tasks.length, budgets = data.budgets;
let budget = data.start, place = data.tasks.map((_, i) => i * 2 < n ? 0 : 1); // the pair of each task

const groups = own => [...new Set(own)].map(pair => own.flatMap((p, i) => p === pair ? [i] : []));
const reach = (parts, total) => sum(parts.map(part =>
  part.length / n * sum(data.spectra[part.join("+")].slice(0, Math.floor(total / parts.length)))));
const all = [data.tasks.map((_, i) => i)], each = data.tasks.map((_, i) => [i]);

const slider = html("input", {type: "range", min: 0, max: budgets.length - 1, value: budgets.indexOf(budget),
  "aria-label": "rank of all pairs together", oninput: () => { budget = budgets[slider.value]; show(); }});
const chips = html("div", {class: "row"}), chart = html("div"), facts = html("dl", {class: "facts"});
const shown = html("b");
root.replaceChildren(html("div", {class: "row"}, html("label", {}, "rank of all pairs together ", shown, " ", slider)),
  chips, chart, facts);

function show() {
  const parts = groups(place);
  shown.textContent = budget;
  chips.replaceChildren("click a task to give it to another pair:", ...parts.map((part, pair) =>
    html("div", {class: "choice"}, html("span", {class: "quiet"}, `pair ${pair + 1}`), ...part.map(i =>
      html("button", {style: `border-color:${data.colours[i]};box-shadow:inset .4rem 0 ${data.colours[i]}`,
        "data-task": i, onclick: () => { move(i); show(); chips.querySelector(`[data-task="${i}"]`).focus({preventScroll: true}); }},
        data.tasks[i])))));
  const rank = Math.floor(budget / parts.length);
  tell(facts, [["reached of what the tasks want", percent(reach(parts, budget))],
    ["one pair for all", percent(reach(all, budget))], ["a pair per task", percent(reach(each, budget))],
    ["numbers trained", `${whole(parts.length * rank * data.per_rank)}`],
    ["rank of each pair", rank]]);
  again();
}

// The next pair that others have, or one of its own; pairs that nobody uses any more are closed up.
function move(task) {
  const others = [...new Set(place.filter((_, i) => i !== task))];
  const choices = [...others, Math.max(...place) + 1], alone = !others.includes(place[task]);
  place[task] = choices[(alone ? 0 : choices.indexOf(place[task]) + 1) % choices.length];
  const used = [...new Set(place)];
  place = place.map(pair => used.indexOf(pair));
}

const again = drawn(chart, width => {
  const height = 250, left = 44, right = width < 480 ? 12 : 130, bottom = 34, top = 8;
  const x = total => left + (width - left - right) * Math.log2(total / budgets[0]) / Math.log2(budgets.at(-1) / budgets[0]);
  const y = share => top + (height - top - bottom) * (1 - share);
  const line = (parts, look) => svg("polyline", {fill: "none", "stroke-width": 2, ...look,
    points: budgets.filter(b => b >= parts.length).map(b => `${x(b)},${y(reach(parts, b))}`).join(" ")});
  const lines = [["one pair for all", all, {stroke: "currentColor", "stroke-opacity": .5, "stroke-dasharray": "2 4"}],
    ["a pair per task", each, {stroke: "currentColor", "stroke-opacity": .5, "stroke-dasharray": "8 4"}],
    ["your pairs", groups(place), {stroke: "#0072B2", "stroke-width": 4}]];
  let heights = lines.map(([, parts]) => y(reach(parts, budgets.at(-1))));
  const order = [0, 1, 2].sort((a, b) => heights[a] - heights[b]);
  order.forEach((own, k) => { if (k) heights[own] = Math.max(heights[own], heights[order[k - 1]] + 15); });
  const names = lines.map(([name], k) => width < 480 ? svg("g") :
    svg("text", {x: width - right + 8, y: heights[k] + 4, "font-weight": k === 2 ? 700 : 400}, name));
  const ticks = budgets.filter(b => Number.isInteger(Math.log2(b))).map(b =>
    svg("text", {x: x(b), y: height - bottom + 16, "text-anchor": "middle"}, b));
  const shares = [0, .25, .5, .75, 1].flatMap(s => [svg("line", {class: "axis", x1: left, x2: width - right, y1: y(s), y2: y(s)}),
    svg("text", {x: left - 6, y: y(s) + 4, "text-anchor": "end"}, `${100 * s} %`)]);
  chart.replaceChildren(svg("svg", {width, height, role: "img", "aria-label": "share reached against rank"}, ...shares, ...ticks,
    svg("text", {x: (left + width - right) / 2, y: height - 2, "text-anchor": "middle"}, "rank of all pairs together"),
    svg("line", {x1: x(budget), x2: x(budget), y1: top, y2: height - bottom, stroke: "currentColor"}),
    ...lines.map(([, parts, look]) => line(parts, look)), ...names,
    svg("circle", {cx: x(budget), cy: y(reach(groups(place), budget)), r: 6, fill: "#0072B2"})));
});
show();
