// A rank for each stage: what it costs and what its pairs reach. data: ranks to choose from, start; groups and per_rank,
// numbers per rank and group, by stage; reach, by stage the share reached at ranks 1, 2, ...; shades of the stages.
const S = data.per_rank.length, numbers = ranks => sum(ranks.map((r, s) => r * data.groups[s] * data.per_rank[s]));
const reached = ranks => sum(ranks.map((r, s) => data.reach[s][r - 1])) / S;
const equal = data.per_rank.map(() => data.start);
let ranks = [...equal];
const bills = html("div"), heights = html("div"), facts = html("dl", {class: "facts"});
root.replaceChildren(html("div", {class: "row"}, html("span", {class: "quiet"}, "rank of each stage"), ...ranks.map((start, s) => stepper(`stage ${s + 1}`, data.ranks, start, value => {
  ranks[s] = value;
  show();
}))), facts, heights, bills);

function show() {
  tell(facts, [["reached, mean of the stages", `${(100 * reached(ranks)).toFixed(1)} %`], ["numbers trained", whole(numbers(ranks))],
    [`rank ${data.start} everywhere: reached`, `${(100 * reached(equal)).toFixed(1)} %`],
    [`rank ${data.start} everywhere: numbers`, whole(numbers(equal))]]);
  const row = (s, value, words) => ({name: `stage ${s + 1}, ${data.groups[s]}\u00a0×\u00a0${ranks[s]}`, parts: [[value, data.shades[s]]], words});
  heights.replaceChildren(html("span", {class: "quiet"}, "share reached of what the tasks want"),
    bars(ranks.map((r, s) => row(s, data.reach[s][r - 1], percent(data.reach[s][r - 1]))), 1));
  const bill = ranks.map((r, s) => r * data.groups[s] * data.per_rank[s]);
  bills.replaceChildren(html("span", {class: "quiet"}, "numbers trained"),
    bars(bill.map((value, s) => row(s, value, whole(value))), Math.max(...bill)));
}
show();
