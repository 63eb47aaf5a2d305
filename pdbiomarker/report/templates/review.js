(function () {
  "use strict";
  function value(row, index) {
    var cell = row.cells[index];
    var exact = cell.getAttribute("data-v");
    if (exact !== null) { return exact === "" ? null : Number(exact); }
    return cell.textContent.trim().toLowerCase();
  }
  function sortBy(table, index, button) {
    var down = button.getAttribute("data-order") === "up";
    table.querySelectorAll("thead button").forEach(function (b) { b.removeAttribute("data-order"); });
    table.querySelectorAll("thead th").forEach(function (h) { h.removeAttribute("aria-sort"); });
    button.setAttribute("data-order", down ? "down" : "up");
    button.parentNode.setAttribute("aria-sort", down ? "descending" : "ascending");
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows).map(function (r, i) { return [value(r, index), i, r]; });
    rows.sort(function (a, b) {
      var x = a[0], y = b[0];
      if (x === y) { return a[1] - b[1]; }
      if (x === null || x !== x) { return 1; }
      if (y === null || y !== y) { return -1; }
      return (x < y ? -1 : 1) * (down ? -1 : 1);
    });
    rows.forEach(function (r) { body.appendChild(r[2]); });
  }
  document.querySelectorAll("table.data").forEach(function (table) {
    table.querySelectorAll("thead button").forEach(function (button, index) {
      button.addEventListener("click", function () { sortBy(table, index, button); });
    });
  });
  document.querySelectorAll("input.filter").forEach(function (input) {
    var table = document.getElementById(input.getAttribute("data-for"));
    var tools = input.closest(".tools"), count = tools.querySelector(".count");
    tools.hidden = false;
    input.addEventListener("input", function () {
      var wanted = input.value.trim().toLowerCase(), shown = 0;
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        row.hidden = wanted !== "" && row.textContent.toLowerCase().indexOf(wanted) < 0;
        if (!row.hidden) { shown += 1; }
      });
      count.textContent = wanted === "" ? "" : shown + " of " + table.tBodies[0].rows.length + " rows";
    });
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") { return; }
    document.querySelectorAll("details.zoom[open]").forEach(function (d) { d.open = false; });
  });
  var closed = [];
  window.addEventListener("beforeprint", function () {
    closed = Array.prototype.slice.call(document.querySelectorAll("details:not([open]):not(.zoom)"));
    closed.forEach(function (d) { d.open = true; });
  });
  window.addEventListener("afterprint", function () { closed.forEach(function (d) { d.open = false; }); });
  var links = {};
  document.querySelectorAll("nav.toc a").forEach(function (a) { links[a.getAttribute("href").slice(1)] = a; });
  if ("IntersectionObserver" in window) {
    var watch = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (entry.isIntersecting && links[entry.target.id]) {
          Object.keys(links).forEach(function (k) { links[k].removeAttribute("aria-current"); });
          links[entry.target.id].setAttribute("aria-current", "true");
        }
      });
    }, { rootMargin: "-10% 0px -75% 0px" });
    document.querySelectorAll("main section[id]").forEach(function (s) { watch.observe(s); });
  }
})();
