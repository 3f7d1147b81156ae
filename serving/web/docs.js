// The OpenAPI document as a page: every operation with what it takes and what it answers.

const METHODS = ["get", "post", "put", "patch", "delete"];

const element = (name, text = "", properties = {}) =>
  Object.assign(document.createElement(name), { textContent: text, ...properties });

const document_ = await (await fetch("/openapi.json")).json();
const schemas = document_.components?.schemas ?? {};
const named = (reference) => reference.split("/").pop();
const resolved = (schema) => (schema?.$ref ? schemas[named(schema.$ref)] ?? {} : schema ?? {});

/** A schema in one line: `string, 1 to 128 characters`. */
function kind(schema, depth = 0) {
  if (schema === undefined || depth > 4) return "any";
  if (schema.$ref) return named(schema.$ref);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((one) => kind(one, depth + 1)).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const limits = ["minLength", "maxLength", "minimum", "maximum", "exclusiveMaximum", "minItems", "maxItems", "pattern"]
    .filter((name) => schema[name] !== undefined)
    .map((name) => `${name} ${schema[name]}`);
  const inner = schema.type === "array" ? ` of ${kind(schema.items, depth + 1)}` : "";
  return [`${schema.type ?? "any"}${inner}`, ...limits].join(", ");
}

/** Rows of name, kind and meaning; the required ones are marked. */
function table(rows) {
  const found = element("table");
  for (const { name, schema, required, description } of rows) {
    const row = found.insertRow();
    row.append(element("th", name + (required ? " *" : ""), { scope: "row" }));
    row.insertCell().append(element("code", kind(schema)));
    row.insertCell().textContent = description ?? schema?.description ?? "";
  }
  return found;
}

function fields(schema) {
  const whole = resolved(schema);
  if (whole.type === "array") return fields(whole.items);
  const wanted = new Set(whole.required ?? []);
  return Object.entries(whole.properties ?? {}).map(([name, of]) => ({ name, schema: of, required: wanted.has(name) }));
}

function operation(path, method, about) {
  const id = `${method}${path}`.replace(/[^a-z0-9]+/gi, "-");
  const found = element("section", "", { id });
  found.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", about.description ?? about.summary ?? ""));
  const given = (about.parameters ?? []).map((one) => ({ ...one, name: `${one.name} (${one.in})` }));
  if (given.length) found.append(element("h3", "Parameters"), table(given));
  const body = Object.values(about.requestBody?.content ?? {})[0]?.schema;
  if (body) found.append(element("h3", "Body"), element("p", kind(body)), table(fields(body)));
  const answers = Object.entries(about.responses ?? {}).map(([name, answer]) => ({
    name,
    schema: Object.values(answer.content ?? {}).find((one) => one.schema)?.schema,
    description: answer.description,
  }));
  found.append(element("h3", "Answers"), table(answers));
  return [id, found];
}

function shape(name, schema) {
  const found = element("section", "", { id: `schema-${name}` });
  found.append(element("h2", name), element("p", schema.description ?? ""), table(fields(schema)));
  return found;
}

const contents = document.getElementById("contents");
const operations = document.getElementById("operations");
document.getElementById("title").textContent = `${document_.info.title}: the API`;
document.getElementById("about").textContent = document_.info.description ?? "";
for (const [path, methods] of Object.entries(document_.paths)) {
  for (const method of METHODS.filter((name) => name in methods)) {
    const [id, section] = operation(path, method, methods[method]);
    contents.append(element("a", `${method.toUpperCase()} ${path}`, { href: `#${id}` }), element("br"));
    operations.append(section);
  }
}
operations.append(...Object.entries(schemas).map(([name, schema]) => shape(name, schema)));
