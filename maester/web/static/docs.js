"use strict";

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const resolve = (root, schema) => {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.slice(2).split("/").reduce((at, part) => at[part], root);
};

const wordFor = (root, given) => {
  const schema = resolve(root, given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.anyOf || schema.oneOf;
  if (choices && !schema.properties) return [...new Set(choices.map((one) => wordFor(root, one)))].join(" | ");
  if (schema.type === "array") return `list of ${wordFor(root, schema.items)}`;
  if (given.$ref) return given.$ref.split("/").pop();
  return [].concat(schema.type || "any").join(" | ");
};

const table = (heads, rows) => {
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  const head = element("tr", {}, ...heads.map((text) => element("th", { textContent: text })));
  return element("table", {}, head, ...body);
};

const code = (text) => element("code", { textContent: text });

const propertyTable = (root, given) => {
  const schema = resolve(root, given);
  if (!schema.properties) return code(wordFor(root, given));
  const required = new Set(schema.required || []);
  return table(
    ["Field", "Type", ""],
    Object.entries(schema.properties).map(([name, property]) => [
      code(name),
      code(wordFor(root, property)),
      [required.has(name) ? "required. " : "", property.description || ""].join(""),
    ]),
  );
};

const send = async (method, path, inputs, body, output) => {
  const query = new URLSearchParams();
  let address = path;
  for (const [where, name, input] of inputs) {
    if (where === "path") address = address.replace(`{${name}}`, input.value.split("/").map(encodeURIComponent).join("/"));
    if (where === "query" && input.value) query.set(name, input.value);
  }
  const headers = {};
  const key = document.getElementById("key").value;
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  for (const [where, name, input] of inputs) if (where === "header" && input.value) headers[name] = input.value;
  output.textContent = "…";
  try {
    const suffix = query.size ? `?${query}` : "";
    const response = await fetch(address + suffix, { method, headers, body: body ? body.value : undefined });
    const text = await response.text();
    const told = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it came */ }
    output.textContent = `${response.status} ${response.statusText}\n${told}\n\n${shown}`;
  } catch (error) {
    output.textContent = String(error);
  }
};

const tryIt = (method, path, operation, parameters) => {
  const inputs = [];
  const rows = parameters.map((parameter) => {
    const input = element("input", { ariaLabel: parameter.name });
    inputs.push([parameter.in, parameter.name, input]);
    return [code(parameter.name), parameter.in, input];
  });
  const parts = [element("h3", { textContent: "Try it" })];
  if (rows.length) parts.push(table(["Parameter", "In", "Value"], rows));
  let body = null;
  if (operation.requestBody) {
    const example = JSON.stringify(operation.requestBody.content["application/json"]["x-example"] || {}, null, 2);
    body = element("textarea", { rows: 8, value: example, spellcheck: false, ariaLabel: "Body" });
    parts.push(body);
  }
  const output = element("pre", { hidden: true });
  const button = element("button", { type: "button", textContent: "Send" });
  button.addEventListener("click", () => {
    output.hidden = false;
    send(method.toUpperCase(), path, inputs, body, output);
  });
  return [...parts, button, output];
};

const operationView = (root, path, method, operation) => {
  const parts = [];
  const parameters = operation.parameters || [];
  if (operation.description) parts.push(element("p", { textContent: operation.description }));
  if (parameters.length) {
    const rows = parameters.map((one) => [code(one.name), one.in, one.description || ""]);
    parts.push(element("h3", { textContent: "Parameters" }), table(["Name", "In", ""], rows));
  }
  if (operation.requestBody) {
    const schema = operation.requestBody.content["application/json"].schema;
    parts.push(element("h3", { textContent: "Body" }), propertyTable(root, schema));
  }
  const answer = Object.values(operation.responses["200"].content)[0].schema;
  parts.push(element("h3", { textContent: "Answer" }), propertyTable(root, answer));
  const errors = Object.entries(operation.responses).filter(([status]) => status !== "200");
  const rows = errors.map(([status, response]) => [code(status), response.description]);
  parts.push(element("h3", { textContent: "Errors" }), table(["Status", ""], rows));
  parts.push(...tryIt(method, path, operation, parameters));
  const summary = element(
    "summary",
    {},
    element("span", { className: "method", textContent: method }),
    code(path),
    element("span", { className: "summary", textContent: ` ${operation.summary}` }),
  );
  return element("details", { className: "operation", id: operation.operationId }, summary, element("div", {}, ...parts));
};

const render = (root) => {
  document.getElementById("version").textContent = root.info.version;
  document.getElementById("description").textContent = root.info.description;
  const main = document.getElementById("operations");
  main.replaceChildren();
  for (const tag of root.tags) {
    main.append(element("h2", { textContent: tag.name }));
    for (const [path, methods] of Object.entries(root.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(tag.name)) main.append(operationView(root, path, method, operation));
      }
    }
  }
};

fetch("/openapi.json").then((response) => response.json()).then(render);
