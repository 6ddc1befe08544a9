// Two conditions of a study, seed by seed. data: start, [study, one, other]; studies, by name {metrics, their titles; means, of
// each metric by condition; pairs, by "one|other" {mean, low, high, differences by seed, verdict}}: each pair once, and turned
// round every sign is the other. All studies have the same conditions.
let [study, one, other] = data.start;
const conditions = Object.keys(data.studies[study].means);
const first = menu("first", conditions, one, value => { if (value === other) other = one; one = value; show(); });
const second = menu("less second", conditions, other, value => { if (value === one) one = other; other = value; show(); });
const facts = html("dl", {class: "facts"}), chart = html("div"), words = html("p", {role: "status"});
const table = html("table");
root.replaceChildren(html("div", {class: "row"},
  menu("study", Object.keys(data.studies), study, value => { study = value; show(); }), first, second), facts, chart, words, table);

function found() {
  const {pairs} = data.studies[study], pair = pairs[`${one}|${other}`];
  const {mean, low, high, differences, verdict} = pair ?? pairs[`${other}|${one}`], turn = value => value === null || pair ? value : -value;
  return {mean: turn(mean), low: turn(pair ? low : high), high: turn(pair ? high : low), points: Object.values(differences ?? {}).map(turn), verdict};
}

function show() {
  const {metrics, means} = data.studies[study], pair = found();
  first.set(one);
  second.set(other);
  tell(facts, [["difference in Δm, points", pair.mean === null ? "–" : signed(pair.mean, 2)],
    ["its 95 % interval", pair.low === null ? "–" : `${signed(pair.low, 2)} to ${signed(pair.high, 2)}`], ["seeds", pair.points.length]]);
  words.textContent = `${pair.verdict[0].toUpperCase()}${pair.verdict.slice(1)}.`;
  const row = (tag, name, texts) => html("tr", {}, html("th", {}, name), ...texts.map(text => html(tag, {}, text)));
  table.replaceChildren(row("th", "", [one, other]), ...metrics.map((metric, k) => row("td", metric, [one, other].map(name => means[name][k].toFixed(3)))));
  again();
}

// One scale for all pairs of a study, or a small difference would look like a large one.
const again = drawn(chart, width => {
  const ends = Object.values(data.studies[study].pairs).flatMap(({low, high, differences}) => [low ?? 0, high ?? 0, ...Object.values(differences ?? {})]);
  const most = Math.max(...ends.map(Math.abs)), x = value => width / 2 + value / most * (width / 2 - 24), height = 74, y = 26;
  const step = [1, 2, 5, 10, 20].find(s => most / s <= 4) ?? 50, ticks = [];
  for (let value = -Math.floor(most / step) * step; value <= most; value += step) ticks.push(value);
  const {mean, low, high, points} = found(), clear = low !== null && low * high > 0, colour = clear ? "#0072B2" : "#8a959c";
  chart.replaceChildren(svg("svg", {width, height, role: "img", "aria-label": "differences of the seeds, their mean and its interval"},
    ...ticks.flatMap(value => [svg("line", {class: "axis", x1: x(value), x2: x(value), y1: 4, y2: height - 26, ...(value ? {} : {"stroke-dasharray": "5 4", style: "stroke-opacity:.8"})}),
      svg("text", {x: x(value), y: height - 8, "text-anchor": "middle"}, value ? signed(value, 0) : "0")]),
    ...(low === null ? [] : [svg("line", {x1: x(low), x2: x(high), y1: y, y2: y, stroke: colour, "stroke-width": 5, "stroke-opacity": .5})]),
    ...points.map(value => svg("circle", {cx: x(value), cy: y, r: 3.5, fill: "currentColor", "fill-opacity": .7})),
    ...(mean === null ? [] : [svg("rect", {x: x(mean) - 6, y: y - 6, width: 12, height: 12, fill: colour, transform: `rotate(45 ${x(mean)} ${y})`})])));
});
show();
