// What groups and rank cost. data: groups and rank at the start; stages and fixed, GMACs of one group through each stage
// and of what always runs; per_rank, adapter numbers by stage; trained, [name, millions] that train besides; n, tasks;
// paper, the published GMACs; shades of the stages.
const S = data.stages.length, most = data.fixed + sum(data.stages.map(stage => stage * data.n));
let groups = [...data.groups], rank = data.rank;
const options = Array.from({length: data.n}, (_, k) => k + 1);
const steppers = groups.map((start, s) => stepper(`stage ${s + 1}`, options, start, value => set(s, value)));
const work = html("div"), size = html("div"), facts = html("dl", {class: "facts"});
root.replaceChildren(html("div", {class: "row"}, html("span", {class: "quiet"}, "groups of each stage"), ...steppers),
  html("div", {class: "row"}, stepper("rank", data.ranks, rank, value => { rank = value; show(); })), facts, work, size);

// Groups part and never join again: a change carries the stages before or behind it along.
function set(stage, value) {
  groups = groups.map((own, s) => s === stage ? value : s < stage ? Math.min(own, value) : Math.max(own, value));
  steppers.forEach((one, s) => one.set(groups[s]));
  show();
}

function show() {
  const adapters = rank * sum(groups.map((g, s) => g * data.per_rank[s])) / 1e6, gmacs = counts =>
    [[data.fixed, "#9aa5ad"], ...counts.map((g, s) => [g * data.stages[s], data.shades[s]])];
  const total = parts => sum(parts.map(([value]) => value)), here = total(gmacs(groups));
  const rows = [["one LoRA for all", groups.map(() => 1)], [`(${groups.join(", ")})`, groups], ["a LoRA per task", groups.map(() => data.n)]];
  const trained = [["adapters", adapters, "#0072B2"], ...data.trained], all = sum(trained.map(([, value]) => value));
  tell(facts, [["GMACs", here.toFixed(2)], ["times one shared stream", (here / total(gmacs(rows[0][1]))).toFixed(2)],
    ["numbers in the adapters", whole(1e6 * adapters)], ["numbers trained in all", `${all.toFixed(2)} M`]]);
  work.replaceChildren(html("span", {class: "quiet"}, `GMACs of one image, light to dark: stages 1 to ${S}; dashed: what the paper prints, ${data.paper}`),
    bars(rows.map(([name, counts]) => ({name, parts: gmacs(counts), words: total(gmacs(counts)).toFixed(2)})), most, data.paper));
  size.replaceChildren(html("span", {class: "quiet"}, "millions of numbers trained"), bars(trained.map(([name, value, colour]) =>
    ({name, parts: [[value, colour]], words: value.toFixed(2)})), Math.max(...trained.map(([, value]) => value), 8)));
}
show();
