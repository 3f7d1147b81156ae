// What happens: asks the service, logs what the user does, and hands values to the view.

import { card, element, funnelRow, suggestion } from "/playground/view.js";

const at = (id) => document.getElementById(id);
const session = sessionStorage.getItem("session") || crypto.getRandomValues(new Uint32Array(2)).join("-");
sessionStorage.setItem("session", session);
at("key").value = sessionStorage.getItem("key") || "";

let shown = null; // the answer on the page: its request_id, its page, the body that asked for it
let asked = 0; // counts requests, so that a late answer never replaces a newer one
let chosen = -1;

async function call(path, body) {
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers["X-API-Key"] = at("key").value;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, options);
  const answer = await response.json();
  if (response.status === 401 || response.status === 403) at("access").hidden = false;
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

const who = () => (at("user").value ? { user_id: at("user").value } : { session_id: session });

async function show(page = 0) {
  const query = at("query").value.trim();
  const number = ++asked;
  closeSuggestions();
  let path = query ? "/v1/search" : "/v1/recommend";
  let body = { ...who(), explain: true, page_size: 20, ...(query ? { query } : { surface: "recommend" }) };
  if (page) [path, body] = [shown.path, { ...shown.body, page, request_id: shown.request_id }];
  try {
    const answer = await call(path, body);
    const ids = answer.items.map((item) => item.item_id);
    const named = new URLSearchParams(ids.map((id) => ["item_id", id]));
    const about = ids.length ? await call(`/playground/items?${named}`) : { items: [] };
    if (number !== asked) return;
    if (!page) shown = { path, body, request_id: answer.request_id };
    shown.page = page;
    render(answer, new Map(about.items.map((item) => [item.item_id, item])), query, page);
  } catch (error) {
    if (number === asked) note(error.message, true);
  }
}

function render(answer, about, query, page) {
  at("heading").textContent = query ? `Results for “${query}”` : "Recommended";
  const cards = answer.items.map((item) => card(item, about.get(item.item_id) || {}, (action, box) => act(action, item, box)));
  if (page) at("results").append(...cards);
  else at("results").replaceChildren(...cards);
  if (page && cards.length) cards[0].querySelector("button").focus();
  const last = (page + 1) * 20;
  at("more").hidden = answer.items.length < 20 || last >= 200;
  const corrected = answer.corrected_query ? `Shown for “${answer.corrected_query}”. ` : "";
  const degraded = answer.degraded.length ? `Degraded: ${answer.degraded.join(", ")}.` : "";
  const nothing = answer.items.length || page ? "" : "Nothing found. ";
  note(`${corrected}${nothing}${answer.total} items. ${degraded}`, degraded !== "");
  funnel(answer);
}

function funnel(answer) {
  const trace = answer.trace || [];
  const most = Math.max(1, ...trace.flatMap((passed) => [passed.rows_in, passed.rows_out]));
  at("funnel").tBodies[0].replaceChildren(...trace.map((passed) => funnelRow(passed, most)));
  at("took").textContent = `Answered in ${answer.took_ms.toFixed(1)} ms`;
  at("bundle").textContent = `bundle ${answer.bundle}`;
}

async function act(action, item, box) {
  const event = {
    event_id: crypto.getRandomValues(new Uint32Array(4)).join("-"),
    type: "feedback",
    time: Date.now(),
    ...who(),
    item_id: item.item_id,
    action,
    request_id: shown.request_id,
  };
  try {
    await call("/v1/events", event);
    if (action === "hide") box.remove();
    else box.classList.add("clicked");
    note(`Logged: ${action} of ${item.item_id}. The next request knows it.`);
  } catch (error) {
    note(error.message, true);
  }
}

function note(text, warn = false) {
  at("note").textContent = text;
  at("note").classList.toggle("warn", warn);
}

let typing = 0;

async function suggest() {
  const number = ++typing;
  const given = new URLSearchParams({ placement: "complete", prefix: at("query").value, limit: 8, ...who() });
  try {
    const found = (await call(`/v1/suggest?${given}`)).suggestions;
    if (number !== typing || document.activeElement !== at("query")) return;
    const pick = (query) => {
      at("query").value = query;
      show();
    };
    at("suggestions").replaceChildren(...found.map((one, index) => suggestion(one, index, pick)));
    at("suggestions").querySelectorAll("li").forEach((option, index) => (option.dataset.query = found[index].query));
    open(found.length > 0);
  } catch (error) {
    note(error.message, true);
  }
}

function open(whether) {
  at("suggestions").hidden = !whether;
  at("query").setAttribute("aria-expanded", String(whether));
  choose(-1);
}

function closeSuggestions() {
  typing++;
  open(false);
}

function choose(index) {
  const options = [...at("suggestions").children];
  chosen = index;
  options.forEach((option, place) => option.setAttribute("aria-selected", String(place === index)));
  if (index >= 0) at("query").setAttribute("aria-activedescendant", options[index].id);
  else at("query").removeAttribute("aria-activedescendant");
}

at("query").addEventListener("input", suggest);
at("query").addEventListener("blur", closeSuggestions);
at("query").addEventListener("keydown", (event) => {
  const count = at("suggestions").hidden ? 0 : at("suggestions").children.length;
  if (event.key === "Escape") closeSuggestions();
  if (!count || !["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return;
  if (event.key === "Enter") {
    if (chosen >= 0) at("query").value = at("suggestions").children[chosen].dataset.query;
    return;
  }
  event.preventDefault();
  choose((chosen + (event.key === "ArrowDown" ? 1 : -1) + count + (chosen < 0 && event.key === "ArrowUp" ? 1 : 0)) % count);
});
at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  show();
});
at("more").addEventListener("click", () => show(shown.page + 1));
at("user").addEventListener("change", () => become(at("user").value));
at("key").addEventListener("change", () => {
  sessionStorage.setItem("key", at("key").value);
  start();
});

function become(user) {
  at("user").value = user;
  at("users").querySelectorAll("button").forEach((button) =>
    button.setAttribute("aria-pressed", String(button.dataset.user === user)));
  show();
}

async function start() {
  try {
    const { users } = await call("/playground/users");
    at("users").replaceChildren(...["", ...users].map((user) =>
      element("button", { type: "button", "data-user": user, "aria-pressed": String(!user), onclick: () => become(user) },
        user || "nobody")));
  } catch (error) {
    note(error.message, true);
  }
  show();
}

start();
