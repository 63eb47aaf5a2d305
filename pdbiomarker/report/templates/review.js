(function () {
  "use strict";
  function all(selector, root) { return Array.prototype.slice.call((root || document).querySelectorAll(selector)); }
  function make(tag, attributes, text) {
    var element = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) { element.setAttribute(name, attributes[name]); });
    if (text !== undefined) { element.textContent = text; }
    return element;
  }
  function json(id) { return JSON.parse(document.getElementById(id).textContent); }
  function counted(n) { return n.toLocaleString("en-US"); }

  /* Numbers as tables write them: with a minus sign, commas, signs of infinity, "< 0.0001". */
  function number(text) {
    var plain = text.replace(/\u2212/g, "-").replace(/,/g, "").replace(/\u221e/g, "Infinity").replace(/^[<>]\s*/, "");
    var found = /^[+]?(-?(?:Infinity|\d+(?:\.\d*)?(?:e-?\d+)?))/.exec(plain);
    return found ? Number(found[1]) : NaN;
  }

  /* --- tables: sort, filter, hints --------------------------------------------------------------------- */

  var collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function value(row, index) {
    var cell = row.cells[index];
    var exact = cell.getAttribute("data-v");
    if (exact !== null) { return exact === "" || exact === "nan" ? null : Number(exact.replace("inf", "Infinity")); }
    var text = cell.textContent.trim();
    return text === "" || text === "\u2013" ? null : text;
  }
  function ordered(x, y) {
    if (typeof x === "number" && typeof y === "number") { return x < y ? -1 : x > y ? 1 : 0; }
    var a = number(String(x)), b = number(String(y));
    if (a === a && b === b && a !== b) { return a < b ? -1 : 1; }
    return collator.compare(x, y);
  }
  function sortBy(table, index, button) {
    var down = button.getAttribute("data-order") === "up";
    all("thead button", table).forEach(function (b) { b.removeAttribute("data-order"); });
    all("thead th", table).forEach(function (h) { h.removeAttribute("aria-sort"); });
    button.setAttribute("data-order", down ? "down" : "up");
    button.parentNode.setAttribute("aria-sort", down ? "descending" : "ascending");
    var body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (r, i) { return [value(r, index), i, r]; });
    rows.sort(function (a, b) {
      if (a[0] === null || b[0] === null) { return a[0] === b[0] ? a[1] - b[1] : a[0] === null ? 1 : -1; }
      return (down ? -1 : 1) * ordered(a[0], b[0]) || a[1] - b[1];
    });
    rows.forEach(function (r) { body.appendChild(r[2]); });
    rove(table);
  }
  all("table.data").forEach(function (table) {
    all("thead button", table).forEach(function (button, index) {
      button.addEventListener("click", function () { sortBy(table, index, button); });
    });
  });
  function field(parent, label, input) {
    var wrap = make("label", {}, label + " ");
    wrap.appendChild(input);
    parent.appendChild(wrap);
    return input;
  }
  all(".tools").forEach(function (tools) {
    var table = document.getElementById(tools.getAttribute("data-for")), heads = all("thead th", table);
    var text = field(tools, "Filter rows", make("input", { type: "search", "class": "filter", autocomplete: "off" }));
    var numeric = heads.map(function (h, i) { return [h, i]; }).filter(function (h) { return h[0].classList.contains("num"); });
    var column = null, low = null, high = null;
    if (numeric.length) {
      column = field(tools, "and", make("select", { "class": "column" }));
      numeric.forEach(function (h) { column.appendChild(make("option", { value: h[1] }, h[0].getAttribute("data-label"))); });
      low = field(tools, "from", make("input", { type: "text", inputmode: "decimal", "class": "bound low", autocomplete: "off" }));
      high = field(tools, "to", make("input", { type: "text", inputmode: "decimal", "class": "bound high", autocomplete: "off" }));
    }
    var count = make("span", { "class": "count", role: "status" });
    tools.appendChild(count);
    function apply() {
      var wanted = text.value.trim().toLowerCase(), shown = 0;
      var from = low ? number(low.value.trim().replace("-", "\u2212")) : NaN, to = high ? number(high.value.trim().replace("-", "\u2212")) : NaN;
      var rows = table.tBodies[0].rows, asked = wanted !== "" || from === from || to === to;
      Array.prototype.forEach.call(rows, function (row) {
        var fits = wanted === "" || row.textContent.toLowerCase().indexOf(wanted) >= 0;
        if (fits && (from === from || to === to)) {
          var v = value(row, Number(column.value));
          fits = v !== null && !(v < from) && !(v > to);
        }
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      count.textContent = asked ? counted(shown) + " of " + counted(rows.length) + " rows shown" : "";
      rove(table);
    }
    [text, low, high].forEach(function (input) { if (input) { input.addEventListener("input", apply); } });
    if (column) { column.addEventListener("change", apply); }
    tools.hidden = false;
  });
  function room(scroll) {
    var over = scroll.scrollWidth - scroll.clientWidth;
    return [scroll, over > 2, over > 2 && scroll.scrollLeft < over - 2];
  }
  function hint(measured) {
    var scroll = measured[0], wide = measured[1], frame = scroll.parentNode;
    scroll.classList.toggle("wide", wide);
    if (!frame.classList.contains("frame")) { return; }
    frame.classList.toggle("more", measured[2]);
    var said = frame.nextElementSibling;
    if (wide && !(said && said.classList.contains("sideways"))) {
      frame.parentNode.insertBefore(make("p", { "class": "sideways" }, "The table goes on to the right: scroll sideways."), frame.nextSibling);
    } else if (!wide && said && said.classList.contains("sideways")) { said.remove(); }
  }
  /* Everything is measured before anything is changed: the page is laid out once. */
  function hints() { all(".scroll").map(room).forEach(hint); }
  all(".scroll").forEach(function (s) { s.addEventListener("scroll", function () { hint(room(s)); }, { passive: true }); });
  all("details.listing").forEach(function (d) { d.addEventListener("toggle", hints); });
  window.addEventListener("resize", hints);

  /* --- participants: light one up everywhere ---------------------------------------------------------- */

  var people = json("people"), marks = people.map(function () { return []; }), lit = -1, kept = -1;
  var follow = document.getElementById("follow"), who = document.getElementById("who"), pick = null, chips = null;
  function owner(node) {
    var found = node && node.closest ? node.closest("[data-p]") : null;
    return found ? Number(found.getAttribute("data-p")) : -1;
  }
  function light(p) {
    if (p === lit) { return; }
    if (lit >= 0) { marks[lit].forEach(function (e) { e.classList.remove("lit"); }); }
    lit = p;
    if (p >= 0) { marks[p].forEach(function (e) { e.classList.add("lit"); }); }
    document.body.classList.toggle("following", p >= 0);
    tell();
  }
  function keep(p) {
    marks.forEach(function (own, i) {
      own.forEach(function (e) { if (e.hasAttribute("aria-pressed")) { e.setAttribute("aria-pressed", String(i === p)); } });
    });
    kept = p;
    document.body.classList.toggle("kept", p >= 0);
    who.classList.toggle("kept", p >= 0);
    if (pick) { pick.value = p >= 0 ? String(p) : ""; }
    lit = p >= 0 && lit === p ? -2 : lit;
    if (lit === -2) { lit = p; tell(); } else { light(p); }
  }
  function tell() {
    who.textContent = "";
    who.hidden = lit < 0;
    if (lit < 0) { return; }
    var line = make("p", { "class": "told", role: "status" });
    line.appendChild(make("span", { "class": "name", dir: "auto" }, people[lit][0]));
    people[lit][1].forEach(function (fact) {
      var span = make("span", { "class": "fact" });
      span.appendChild(make("i", {}, fact[0] + ": "));
      span.appendChild(document.createTextNode(fact[1]));
      line.appendChild(span);
    });
    who.appendChild(line);
    if (kept === lit) { who.appendChild(links(lit)); }
  }
  function links(p) {
    var nav = make("nav", { "class": "links", "aria-label": "Where this participant stands" });
    var slides = document.getElementById("slides-" + p);
    nav.appendChild(slides ? make("a", { href: "#slides-" + p, "class": "to-slides" }, "Thumbnails") : make("span", { "class": "none" }, "no thumbnails"));
    all("table.data").forEach(function (table) {
      var rows = all("tr[data-p='" + p + "']", table);
      if (!rows.length || table.closest(".lookup")) { return; }
      var caption = table.closest(".listing").querySelector(".caption, summary");
      var words = caption.textContent.trim().replace(/\s+/g, " ");
      var link = make("a", { href: "#" + table.id, title: words }, caption.querySelector("b").textContent.replace(/\.$/, "") + (rows.length > 1 ? " (" + rows.length + " rows)" : ""));
      link.addEventListener("click", function (event) { event.preventDefault(); go(rows[0]); });
      nav.appendChild(link);
    });
    var figures = all("svg.live").filter(function (svg) { return svg.querySelector("[data-p='" + p + "']"); });
    nav.appendChild(make("span", { "class": "count" }, "in " + figures.length + " figure" + (figures.length === 1 ? "" : "s")));
    var release = make("button", { type: "button", "class": "release" }, "Release (Esc)");
    release.addEventListener("click", function () { keep(-1); });
    nav.appendChild(release);
    return nav;
  }
  function go(row) {
    for (var d = row.closest("details"); d; d = d.parentNode.closest("details")) { d.open = true; }
    row.hidden = false;
    row.scrollIntoView({ block: "center" });
    row.focus({ preventScroll: true });
  }
  /* Thin lines and letters are hard to point at: lines get a wide invisible one, names their whole box. */
  function hits() {
    all("svg.live [data-p]").forEach(function (e) {
      if (e.tagName === "g" && !e.querySelector("path") && e.querySelector("use[href^='#l']")) { e.classList.add("word"); }
    });
    all("svg.live [data-p] path[fill='none']").forEach(function (path) {
      var wide = path.cloneNode(false);
      ["stroke-dasharray", "opacity", "stroke-opacity", "id"].forEach(function (name) { wide.removeAttribute(name); });
      wide.setAttribute("stroke", "transparent");
      wide.setAttribute("stroke-width", "8");
      wide.setAttribute("class", "hit");
      path.parentNode.appendChild(wide);
    });
  }
  /* One stop for the Tab key in each figure and table; arrow keys go from participant to participant. */
  function stops(group) { return all("[tabindex]", group).filter(function (e) { return e.hasAttribute("data-p") && !e.hidden; }); }
  function rove(group) {
    var own = stops(group);
    own.forEach(function (e, i) { e.setAttribute("tabindex", i ? "-1" : "0"); });
  }
  function reach() {
    all("svg.live").forEach(function (svg) {
      var seen = {};
      svg.setAttribute("role", "group");
      all("[data-p]", svg).forEach(function (e) {
        var p = e.getAttribute("data-p");
        if (seen[p]) { return; }
        seen[p] = true;
        e.setAttribute("tabindex", "-1");
        e.setAttribute("role", "button");
        e.setAttribute("aria-pressed", "false");
        e.setAttribute("aria-label", people[p][0]);
      });
      rove(svg);
    });
    all("table.data").forEach(function (table) {
      all("tr[data-p]", table).forEach(function (row) { row.setAttribute("tabindex", "-1"); });
      rove(table);
    });
    all(".person[data-p]").forEach(function (e) { e.setAttribute("tabindex", "0"); });
  }
  function panel() {
    if (!people.length) { return; }
    pick = make("select", { id: "pick" });
    pick.appendChild(make("option", { value: "" }, "nobody"));
    chips = make("div", { "class": "chips", role: "group", "aria-label": "Participants" });
    people.forEach(function (one, p) {
      pick.appendChild(make("option", { value: p }, one[0]));
      var chip = make("button", { type: "button", "class": "chip" + (one[2] ? "" : " without"), "data-p": p, tabindex: "-1", "aria-pressed": "false", title: one[0], dir: "auto" }, one[0]);
      chips.appendChild(chip);
    });
    var label = make("label", { "for": "pick" }, "Follow a participant");
    [label, pick, make("p", { "class": "hint" }, "Point at a participant here, in any figure or in any table, or move there with Tab and the arrow keys: the participant stands out in all of them. Click or press Enter to keep, Esc to release. Dashed: no evaluable change."), chips].forEach(function (e) { follow.appendChild(e); });
    pick.addEventListener("change", function () { keep(pick.value === "" ? -1 : Number(pick.value)); });
    follow.hidden = false;
    rove(chips);
  }
  panel();
  hits();
  reach();
  all("[data-p]").forEach(function (e) { if (marks[e.getAttribute("data-p")]) { marks[e.getAttribute("data-p")].push(e); } });
  document.addEventListener("pointerover", function (event) { if (kept < 0) { light(owner(event.target)); } });
  document.addEventListener("focusin", function (event) {
    if (kept < 0 && (owner(event.target) >= 0 || !who.contains(event.target))) { light(owner(event.target)); }
  });
  document.addEventListener("click", function (event) {
    var p = owner(event.target), chosen = window.getSelection ? String(window.getSelection()) : "";
    if (p < 0 || chosen !== "" || event.target.closest("a, summary, input, select, button:not(.chip)")) { return; }
    keep(kept === p ? -1 : p);
  });
  document.addEventListener("keydown", function (event) {
    var at = event.target;
    if (event.key === "Escape") {
      var open = all("details.zoom[open]");
      open.forEach(function (d) { d.open = false; });
      if (!open.length) { keep(-1); light(-1); }
      return;
    }
    if (!at.hasAttribute || !at.hasAttribute("data-p")) { return; }
    if ((event.key === "Enter" || event.key === " ") && at.tagName !== "BUTTON") {
      event.preventDefault();
      keep(kept === owner(at) ? -1 : owner(at));
      return;
    }
    var step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    var group = at.closest("svg.live, table.data, .chips");
    if (!group || (step === undefined && event.key !== "Home" && event.key !== "End")) { return; }
    var own = stops(group), next = event.key === "Home" ? 0 : event.key === "End" ? own.length - 1 : own.indexOf(at) + step;
    event.preventDefault();
    if (!own[next]) { return; }
    own.forEach(function (e) { e.setAttribute("tabindex", "-1"); });
    own[next].setAttribute("tabindex", "0");
    own[next].focus();
  });

  /* --- genes: look any of them up ------------------------------------------------------------------------ */

  function read(column) {
    if (column.all !== undefined) { return []; }
    if (column.texts) { return column.texts.map(function (t) { return column.start + t; }); }
    var parts = column.joined === "" ? [""] : column.joined.split(";");
    return column.known ? parts.map(function (i) { return column.known[Number(i)]; }) : parts;
  }
  function numeric(column) { return column.format === "number" || column.format === "p" || column.format === "df"; }
  var MOST = 12;
  all(".lookup").forEach(function (box) {
    var key = box.getAttribute("data-for").slice(2), data = null, names = null;
    var id = "find-" + key, input = make("input", { type: "search", id: id, autocomplete: "off", spellcheck: "false" });
    box.appendChild(make("label", { "for": id }, "Find a gene"));
    box.appendChild(input);
    var said = make("p", { "class": "hint", role: "status" }, "By symbol or id, among all genes of this comparison, those that could not be tested too.");
    var scroll = make("div", { "class": "scroll", tabindex: "0", role: "region", "aria-label": "Genes found" });
    scroll.hidden = true;
    box.appendChild(said);
    box.appendChild(scroll);
    box.hidden = false;
    var shown = document.getElementById("f-" + box.getAttribute("data-figure"));
    if (shown) { shown.parentNode.insertBefore(box, shown.nextSibling); }
    function load() {
      if (data) { return; }
      data = json("every-" + key);
      data.read = data.columns.map(read);
      data.points = data.points.map(function (p) { return p.split(";"); });
      names = [0, 1].filter(function (i) { return i === 0 || data.columns[1].format === "id"; }).map(function (i) {
        return data.read[i].map(function (t) { return t.toUpperCase(); });
      });
    }
    function rank(i, wanted) {
      var best = 9;
      names.forEach(function (own) {
        var at = own[i] === wanted ? 0 : own[i].indexOf(wanted) === 0 ? 1 : own[i].indexOf(wanted) > 0 ? 2 : 9;
        best = Math.min(best, at);
      });
      return best;
    }
    function spot(i) {
      var figure = document.getElementById("f-" + data.figure), plot = figure && figure.querySelector(".plot[data-axes]");
      if (!plot) { return; }
      all(".spot", plot).forEach(function (s) { s.remove(); });
      if (i < 0 || data.points[0][i] === "") { return; }
      var axes = JSON.parse(plot.getAttribute("data-axes")), b = axes.box;
      var x = (data.points[0][i] / 100 - axes.x[0]) / (axes.x[1] - axes.x[0]), y = (data.points[1][i] / 100 - axes.y[0]) / (axes.y[1] - axes.y[0]);
      var mark = make("span", { "class": "spot" + (x > 0.7 ? " left" : "") });
      mark.style.left = 100 * (b[0] + x * b[2]) + "%";
      mark.style.top = 100 * (b[1] + (1 - y) * b[3]) + "%";
      mark.appendChild(make("b", {}, data.read[0][i]));
      plot.appendChild(mark);
    }
    function show(found) {
      scroll.textContent = "";
      scroll.hidden = !found.length;
      if (!found.length) { return; }
      var table = make("table", { "class": "data" }), head = table.createTHead().insertRow(), body = table.createTBody();
      data.columns.forEach(function (c) {
        var th = make("th", { scope: "col", "data-label": c.label });
        if (numeric(c)) { th.className = "num"; }
        th.appendChild(make("span", { "class": "heading" }, c.label));
        head.appendChild(th);
      });
      found.forEach(function (i) {
        var row = body.insertRow();
        row.setAttribute("tabindex", "0");
        data.columns.forEach(function (c, k) {
          var cell = row.insertCell();
          cell.className = numeric(c) ? "num" : c.format;
          cell.textContent = c.all !== undefined ? c.all : data.read[k][i];
        });
        ["focus", "click"].forEach(function (name) {
          row.addEventListener(name, function () {
            all("tr.lit", body).forEach(function (r) { r.classList.remove("lit"); });
            row.classList.add("lit");
            spot(i);
          });
        });
      });
      scroll.appendChild(table);
      body.rows[0].classList.add("lit");
      hint(room(scroll));
    }
    input.addEventListener("focus", load);
    input.addEventListener("input", function () {
      load();
      var wanted = input.value.trim().toUpperCase(), found = [];
      if (wanted !== "") {
        for (var i = 0; i < data.n; i += 1) {
          var r = rank(i, wanted);
          if (r < 9) { found.push([r, i]); }
        }
      }
      found.sort(function (a, b) { return a[0] - b[0] || collator.compare(data.read[0][a[1]], data.read[0][b[1]]) || a[1] - b[1]; });
      said.textContent = wanted === "" ? counted(data.n) + " genes." : !found.length ? "No gene of " + counted(data.n) + " has this in its name." :
        counted(Math.min(MOST, found.length)) + " of " + counted(found.length) + " found among " + counted(data.n) + " genes; the one in colour is marked in the figure.";
      show(found.slice(0, MOST).map(function (f) { return f[1]; }));
      spot(found.length ? found[0][1] : -1);
    });
  });

  /* --- the page ------------------------------------------------------------------------------------------ */

  var closed = [];
  window.addEventListener("beforeprint", function () {
    closed = all("details:not([open]):not(.zoom)");
    closed.forEach(function (d) { d.open = true; });
    all("table.data tbody tr[hidden]").forEach(function (r) { r.hidden = false; r.setAttribute("data-filtered", ""); });
  });
  window.addEventListener("afterprint", function () {
    closed.forEach(function (d) { d.open = false; });
    all("tr[data-filtered]").forEach(function (r) { r.hidden = true; r.removeAttribute("data-filtered"); });
  });
  var toc = {};
  all("nav.toc a").forEach(function (a) { toc[a.getAttribute("href").slice(1)] = a; });
  if ("IntersectionObserver" in window) {
    var watch = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        if (entry.isIntersecting && toc[entry.target.id]) {
          Object.keys(toc).forEach(function (k) { toc[k].removeAttribute("aria-current"); });
          toc[entry.target.id].setAttribute("aria-current", "true");
        }
      });
    }, { rootMargin: "-10% 0px -75% 0px" });
    all("main section[id]").forEach(function (s) { watch.observe(s); });
  }
  hints();
})();
