// What is seen: elements made from values. Nothing here calls the service, and no text becomes markup.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export function card(item, about, act) {
  const title = about.title || item.item_id;
  const open = element("button", { type: "button", class: "title", onclick: () => act("click", box) }, title);
  const tags = item.channels.map((channel) => element("span", { class: "tag" }, channel));
  const button = (action) =>
    element("button", { type: "button", "aria-label": `${action}: ${title}`, onclick: () => act(action, box) }, action);
  const score = item.score === null ? "" : ` · score ${item.score.toPrecision(3)}`;
  const foot = element("div", { class: "foot" }, `#${item.position + 1}${score}`, item.sponsored ? element("span", { class: "tag" }, "sponsored") : "",
    ...tags, button("purchase"), button("hide"));
  const facts = [about.brand, price(about), (about.category || []).join(" › ")].filter(Boolean).join(" · ");
  const box = element("li", {}, open, element("div", { class: "facts" }, facts), foot);
  return box;
}

function price(about) {
  if (about.price === null || about.price === undefined) return "";
  return `${about.price.toFixed(2)} ${about.currency || ""}`.trim();
}

export function suggestion(found, index, choose) {
  const option = element("li", { id: `suggestion-${index}`, role: "option", "aria-selected": "false" });
  const text = element("span");
  let from = 0;
  for (const [start, end] of found.highlight) {
    text.append(found.display.slice(from, start), element("strong", {}, found.display.slice(start, end)));
    from = end;
  }
  text.append(found.display.slice(from));
  option.append(text, element("small", {}, found.source));
  option.addEventListener("mousedown", (event) => {
    event.preventDefault(); // the text box keeps the focus
    choose(found.query);
  });
  return option;
}

export function funnelRow(passed, most) {
  const bars = document.createElementNS(SVG, "svg");
  bars.setAttribute("viewBox", "0 0 100 10");
  bars.setAttribute("preserveAspectRatio", "none");
  bars.setAttribute("aria-hidden", "true");
  for (const [name, rows, y] of [["in", passed.rows_in, 0], ["out", passed.rows_out, 5]]) {
    const bar = document.createElementNS(SVG, "rect");
    const size = { x: 0, y, height: 4.5, width: (100 * rows) / most, class: name };
    for (const [key, value] of Object.entries(size)) bar.setAttribute(key, value);
    bars.append(bar);
  }
  const fell = passed.fallback ? element("small", { class: "warn" }, ` → ${passed.fallback}: ${passed.reason}`) : "";
  const rows = element("small", {}, `${passed.rows_in} → ${passed.rows_out}`);
  return element("tr", {}, element("td", {}, passed.stage, fell), element("td", {}, bars, rows),
    element("td", {}, passed.ms.toFixed(2)));
}
