document.documentElement.classList.add("js");
addEventListener("DOMContentLoaded", () => {
  const { columns, texts, rows, hidden, filters, risky } = JSON.parse(document.getElementById("data").textContent);
  const names = Object.keys(columns), at = Object.fromEntries(names.map((name, place) => [name, place]));
  const form = document.getElementById("filters"), table = document.getElementById("board"), body = table.tBodies[0];
  const lines = [...body.rows], atOnce = Number(table.dataset.atOnce), count = document.getElementById("count");
  const more = document.getElementById("more"), heads = [...table.querySelectorAll("th[data-sort]")];
  const choices = filters.map((name) => form.elements[name]).filter(Boolean);
  let limit = atOnce, down = false, shown = [], words = null;
  const text = (value) => Array.isArray(value) ? value.map((place) => texts[place]).join("; ") : texts[value];
  const known = (name) => heads.some((head) => head.dataset.sort === name);

  // sorting: what cannot be trusted stays last, whatever the column and direction
  const sorted = (found, name) => {
    const column = at[name], sign = down ? -1 : 1, numbers = !columns[name];
    const value = (row) => numbers ? rows[row][column] : text(rows[row][column]).toLowerCase();
    const keys = new Map(found.map((row) => [row, value(row)]));
    return found.sort((a, b) => {
      if (name === "question") return sign * (rows[a][column] - rows[b][column]) || a - b;
      const apart = rows[a][at.outcast] - rows[b][at.outcast];
      if (apart) return apart;
      const first = keys.get(a), second = keys.get(b);
      if (first === null || second === null) return (first === null) - (second === null) || a - b;
      return sign * (first < second ? -1 : first > second ? 1 : 0) || a - b;
    });
  };

  const apply = () => {
    const wanted = choices.filter((box) => box.value !== "").map((box) => [at[box.name], Number(box.value)]);
    const query = form.elements.q.value.trim().toLowerCase(), name = form.elements.sort.value;
    if (query && !words) words = lines.map((line) => line.textContent.toLowerCase());
    const fits = (row) => wanted.every(([column, place]) => {
      const value = rows[row][column];
      return Array.isArray(value) ? value.includes(place) : value === place;
    }) && (!query || words[row].includes(query));
    shown = sorted([...rows.keys()].filter(fits), name);
    const visible = shown.slice(0, limit);
    visible.forEach((row, place) => {
      const begins = place > 0 && rows[row][at.question] !== rows[visible[place - 1]][at.question];
      lines[row].classList.add("on");
      lines[row].classList.toggle("block", name === "question" && begins);
    });
    body.replaceChildren(...visible.map((row) => lines[row])); // a table lays itself out faster without hidden rows
    for (const head of heads) {
      if (head.dataset.sort === name) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const hiddenRows = shown.length - visible.length;
    count.textContent = `${shown.length} of ${rows.length} rows` + (hiddenRows ? `, the first ${visible.length} shown` : "");
    more.hidden = !hiddenRows;
    more.textContent = `Show all ${shown.length} rows`;
  };

  // the address holds what is chosen, in words, so that a link stays true when rows are added
  const address = () => {
    const chosen = new URLSearchParams();
    for (const box of choices) if (box.value !== "") chosen.set(box.name, texts[box.value]);
    if (form.elements.q.value) chosen.set("q", form.elements.q.value);
    if (form.elements.sort.value !== "question" || down) chosen.set("sort", form.elements.sort.value);
    if (down) chosen.set("down", "1");
    return String(chosen);
  };
  const keep = () => history.replaceState(null, "", `#${address()}`);
  const recall = () => {
    const chosen = new URLSearchParams(location.hash.slice(1));
    for (const box of choices) {
      const place = texts.indexOf(chosen.get(box.name));
      const there = chosen.has(box.name) && [...box.options].some((option) => option.value === String(place));
      box.value = there ? String(place) : "";
    }
    form.elements.q.value = (chosen.get("q") ?? "").slice(0, 200);
    form.elements.sort.value = known(chosen.get("sort")) ? chosen.get("sort") : "question";
    down = chosen.get("down") === "1";
    limit = atOnce;
    apply();
  };

  const defused = new Set(risky); // texts that a spreadsheet would take for a formula
  const field = (value, name) => {
    if (value === null) return "nan";
    if (!columns[name]) return String(value);
    const places = Array.isArray(value) ? value : [value];
    return `"${(places.some((place) => defused.has(place)) ? "'" : "") + text(value).replaceAll('"', '""')}"`;
  };
  const csv = () => {
    const told = names.filter((name) => !hidden.includes(name));
    const body = shown.map((row) => told.map((name) => field(rows[row][at[name]], name)).join(","));
    return [told.join(","), ...body, ""].join("\n");
  };

  for (const head of heads) {
    const button = document.createElement("button"), name = head.textContent;
    button.type = "button";
    button.textContent = name;
    head.replaceChildren(button);
    form.elements.sort.add(new Option(name, head.dataset.sort));
    button.addEventListener("click", () => {
      down = form.elements.sort.value === head.dataset.sort && !down;
      form.elements.sort.value = head.dataset.sort;
      apply(); keep();
    });
  }
  const changed = () => { limit = atOnce; apply(); keep(); };
  for (const box of choices) box.addEventListener("change", changed);
  form.elements.sort.addEventListener("change", () => { down = false; changed(); });
  form.elements.q.addEventListener("input", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); history.replaceState(null, "", "#"); recall(); });
  more.addEventListener("click", () => { limit = Infinity; apply(); });
  document.getElementById("csv").addEventListener("click", () => {
    const link = document.createElement("a"), url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.href = url;
    link.download = "leaderboard.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  document.getElementById("link").addEventListener("click", async (event) => {
    const said = await navigator.clipboard?.writeText(location.href).then(() => "Copied", () => "");
    event.target.textContent = said || "The address is the link";
  });
  addEventListener("hashchange", recall);
  let before = limit;
  addEventListener("beforeprint", () => { before = limit; limit = Infinity; apply(); });
  addEventListener("afterprint", () => { limit = before; apply(); });
  form.hidden = false;
  recall();
});
