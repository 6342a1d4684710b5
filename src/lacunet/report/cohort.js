// Sorts and filters the rows of a cohort. Only some rows are in the page at a time, so that ten thousand are quick;
// without this script all of them are there, in the order in which they need a look.
"use strict";
(() => {
  const STEP = 200;
  const table = document.getElementById("cases");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].map((row, place) => ({ row, place, words: null }));
  const controls = document.getElementById("controls");
  const subset = document.getElementById("subset");
  const find = document.getElementById("find");
  const order = document.getElementById("order");
  const shown = document.getElementById("shown");
  const said = shown.querySelector("span");
  const more = shown.querySelector("button");
  const names = new Intl.Collator("en", { numeric: true });
  const state = { column: -1, down: false, most: STEP };
  let listed = rows;

  const numeric = (column) => heads[column].classList.contains("n");

  // The order of the file is that of urgency: column 1 sorts by it, and so does no column at all.
  function keyOf(column) {
    if (column < 0 || column === 1) return (one) => one.place;
    if (numeric(column)) {
      return (one) => {
        const value = one.row.cells[column].dataset.v;
        return value === undefined ? NaN : Number(value);
      };
    }
    return (one) => one.row.cells[column].textContent;
  }

  function sorted(found) {
    const key = keyOf(state.column);
    const sign = state.down ? -1 : 1;
    const compare = (a, b) => {
      if (typeof a === "string") return sign * names.compare(a, b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // what is not known comes last
      return sign * (a - b);
    };
    return found
      .map((one) => ({ one, key: key(one) }))
      .sort((a, b) => compare(a.key, b.key) || a.one.place - b.one.place)
      .map((pair) => pair.one);
  }

  function matches(one) {
    const reason = controls.elements.reason.value;
    const reasons = one.row.dataset.r;
    if (reason === "none" ? reasons !== "" : reason !== "" && !reasons.split(" ").includes(reason)) return false;
    if (subset.value && one.row.dataset.s !== subset.value) return false;
    const wanted = find.value.trim().toLowerCase();
    if (!wanted) return true;
    one.words ??= one.row.textContent.toLowerCase();
    return one.words.includes(wanted);
  }

  function draw() {
    const there = listed.slice(0, state.most);
    body.replaceChildren(...there.map((one) => one.row));
    const count = (number) => number.toLocaleString("en");
    said.textContent = listed.length === 0 ? "No case is like that." : `${count(there.length)} of ${count(listed.length)}`;
    more.hidden = there.length === listed.length;
  }

  function again() {
    state.most = STEP;
    listed = sorted(rows.filter(matches));
    draw();
  }

  function sortBy(column, down) {
    state.column = column;
    state.down = down;
    heads.forEach((head, number) => {
      if (number === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    order.value = `${column} ${down}`;
    again();
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(column, state.column === column ? !state.down : numeric(column)));
    head.replaceChildren(button);
    const ways = column === 1 ? [false] : numeric(column) ? [true, false] : [false, true];
    for (const down of ways) {
      const words = column === 1 ? "what needs a look first" : `${head.textContent}, ${numeric(column) ? (down ? "largest" : "smallest") : down ? "Z" : "A"} first`;
      const option = new Option(words, `${column} ${down}`);
      if (column === 1) order.prepend(option);
      else order.append(option);
    }
  });
  order.addEventListener("change", () => {
    const [column, down] = order.value.split(" ");
    sortBy(Number(column), down === "true");
  });
  for (const { row } of rows) {
    heads.forEach((head, column) => {
      if (numeric(column) && row.cells[column].dataset.v !== undefined) row.cells[column].dataset.label = `${head.textContent} `;
    });
  }
  controls.addEventListener("input", (event) => {
    if (event.target !== order) again();
  });
  controls.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    state.most += 5 * STEP;
    draw();
  });
  controls.hidden = false;
  shown.hidden = false;
  sortBy(1, false);
})();
