// The two switches and the sections of the page in its contents. Without this script everything can still be read.
(() => {
  const root = document.documentElement, find = name => document.getElementById(name);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const keep = look => { try { localStorage.setItem("theme", look); } catch { /* then it lasts as long as the page */ } };
  let chosen = root.dataset.theme; // by the head's own line
  const theme = find("theme");
  const wear = look => {
    root.dataset.theme = look;
    theme.textContent = look === "dark" ? "light" : "dark";
  };
  const system = () => dark.matches ? "dark" : "light";
  wear(chosen || system());
  dark.addEventListener("change", () => chosen || wear(system()));
  theme.onclick = () => { keep(chosen = theme.textContent); wear(chosen); };
  theme.hidden = false;

  const codes = document.querySelectorAll("details.code"), unfold = find("unfold");
  unfold.hidden = !codes.length;
  unfold.onclick = () => {
    const open = unfold.textContent === "show code";
    codes.forEach(code => { code.open = open; });
    unfold.textContent = open ? "hide code" : "show code";
  };

  // Where the system asks for less motion an animation stands still until it is clicked.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const moving of document.querySelectorAll('img[src^="data:image/gif"]')) moving.decode().then(() => {
      const still = Object.assign(document.createElement("canvas"), {width: moving.naturalWidth, height: moving.naturalHeight});
      still.getContext("2d").drawImage(moving, 0, 0);
      const play = Object.assign(document.createElement("button"), {textContent: "play", onclick: () => play.replaceWith(moving)});
      play.className = "still";
      play.prepend(still);
      moving.replaceWith(play);
    });
  }

  // A figure that was made smaller to fit stands at its own size after a tap, and scrolls in its place.
  const large = image => image.naturalWidth > image.clientWidth + 1;
  for (const image of document.querySelectorAll(".output_png img, .text_cell img")) {
    const tell = () => image.classList.toggle("small", !image.classList.contains("whole") && large(image));
    image.onclick = () => { image.classList.toggle("whole", large(image)); tell(); };
    image.decode().then(tell, () => {});
    addEventListener("resize", tell);
  }

  // Sentences that a cell printed are wrapped; a table of text keeps its columns, and scrolls.
  for (const printed of document.querySelectorAll(".output_text pre"))
    printed.classList.toggle("prose", !/\S {2,}\S.*\S {2,}\S/.test(printed.textContent));

  const contents = document.querySelector("details.contents"), here = contents.querySelector("[aria-current]");
  contents.open = matchMedia("(min-width: 1200px)").matches;
  const list = document.createElement("ol");
  for (const heading of document.querySelectorAll("main h2[id]")) {
    const link = document.createElement("a"), item = document.createElement("li");
    link.href = "#" + heading.id;
    link.append(...[...heading.childNodes].filter(node => !node.classList?.contains("anchor-link"))
      .map(node => node.cloneNode(true)));
    item.append(link);
    list.append(item);
  }
  if (!list.children.length) return;
  if (here) here.after(list); else contents.querySelector("nav").append(list);
})();
