// Values as Grafana writes them: a JSON array of [number, unit, decimals or null] on standard input, texts on standard
// output. The code is Grafana's own (@grafana/data); what it expects of a browser and does not use here is empty.
"use strict";
const element = () => ({ style: {}, setAttribute() {}, appendChild() {}, sheet: { insertRule() {}, cssRules: [] } });
Object.assign(globalThis, {
  window: globalThis,
  addEventListener() {},
  history: { pushState() {}, replaceState() {} },
  location: { href: "http://localhost/", search: "", pathname: "/" },
  localStorage: { getItem: () => null, setItem() {} },
  document: {
    createElement: element, createTextNode: element, getElementsByTagName: () => [element()], querySelector: () => null,
    querySelectorAll: () => [], head: element(), body: element(), documentElement: element(), addEventListener() {},
  },
});
Object.defineProperty(globalThis, "navigator", {
  value: { userAgent: "node", language: "en-US", languages: ["en-US"] }, configurable: true,
});
console.log = console.info = () => {}; // i18next greets on standard output

const grafana = require("@grafana/data");
const theme = grafana.createTheme();

function text([value, unit, decimals]) {
  const config = decimals === null ? { unit } : { unit, decimals };
  const shown = grafana.getDisplayProcessor({ field: { type: grafana.FieldType.number, config }, theme, timeZone: "utc" });
  return grafana.formattedValueToString(shown(value));
}

const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(asked.map(text)));
