// The reference: Swagger UI with a layout of our own. Keys are two fields instead of a dialog, headings are in order,
// an operation's head is one button, and code looks as in the rest of the documentation.

const TOKEN = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b/g;

function paint(text, h) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(TOKEN)) {
    const word = found[1] ?? found[0];
    const kind = found[2] ? "s-nt" : found[1] ? "s-s2" : /\d/.test(word) ? "s-m" : "s-kc";
    parts.push(text.slice(end, found.index), h("span", { className: kind, key: found.index }, word));
    end = found.index + word.length;
  }
  parts.push(text.slice(end));
  return parts;
}

function brand({ React: { createElement: h, useState } }) {
  function SyntaxHighlighter({ language, children }) {
    return h("pre", { tabIndex: 0 }, h("code", null, language === "json" ? paint(children, h) : children));
  }

  function Copy({ text }) {
    const [done, setDone] = useState(false);
    if (!navigator.clipboard) return null;
    const copy = async () => {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    };
    return h("button", { type: "button", className: "copy", "data-done": done ? "" : undefined, onClick: copy }, done ? "Copied" : "Copy");
  }

  function HighlightCode({ language, children }) {
    return h("figure", { className: "code" }, h(SyntaxHighlighter, { language }, children), h(Copy, { text: children }));
  }

  function OperationTag({ tag, tagObj, children }) {
    return h("section", { className: "group" },
      h("h2", { id: `operations-tag-${tag}` }, tag),
      h("p", null, tagObj.getIn(["tagDetails", "description"])),
      children);
  }

  function OperationSummary({ isShown, toggleShown, operationProps }) {
    const { method, path, summary } = operationProps.toObject();
    return h("h3", { className: "opblock-summary" },
      h("button", { type: "button", "aria-expanded": isShown, onClick: toggleShown },
        h("span", { className: "method" }, method.toUpperCase()),
        h("span", { className: "path" }, path),
        h("span", { className: "what" }, summary)));
  }

  function BaseLayout({ specSelectors, errSelectors, getComponent }) {
    if (specSelectors.loadingStatus() === "failed") {
      return h("p", { role: "alert" }, "The description of the API could not be loaded. Load the page again.");
    }
    if (!specSelectors.specStr()) return h("p", null, "Loading …");
    return h("div", { className: "swagger-ui" },
      h(getComponent("operations", true)),
      h("section", { className: "group" }, h("h2", null, "Schemas"), h(getComponent("Models", true))));
  }

  const nothing = () => null;
  return {
    components: {
      BaseLayout, HighlightCode, OperationSummary, OperationTag, SyntaxHighlighter, authorizeOperationBtn: nothing,
    },
  };
}

// What Swagger UI draws without a name, with the wrong role, or out of the keyboard's reach.
const MENDED = {
  "label[id]": (label) => label.removeAttribute("id"), // its field has the same
  "table[role]": (table) => table.removeAttribute("role"),
  "thead td:not([role])": (cell) => cell.setAttribute("role", "columnheader"),
  "tr[data-param-name] :is(input, select):not([aria-label])": (field) =>
    field.setAttribute("aria-label", field.closest("tr").dataset.paramName),
  "textarea:not([aria-label])": (field) => field.setAttribute("aria-label", "Request body"),
  "pre:not([tabindex])": (block) => { block.tabIndex = 0; },
  "div.copy-to-clipboard[aria-label]": (frame) => frame.removeAttribute("aria-label"), // its button has the same
};

function mend(root) {
  for (const [selector, change] of Object.entries(MENDED)) root.querySelectorAll(selector).forEach(change);
}

window.addEventListener("DOMContentLoaded", () => {
  const root = document.getElementById("reference");
  new MutationObserver(() => mend(root)).observe(root, { childList: true, subtree: true });
  const form = document.querySelector(".keys");
  const ui = window.SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#reference",
    deepLinking: true,
    persistAuthorization: false,
    defaultModelsExpandDepth: 1,
    validatorUrl: null,
    plugins: [brand],
    onComplete: () => { form.hidden = false; },
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target.value) ui.preauthorizeApiKey(target.name, target.value.trim());
    else ui.authActions.logout([target.name]);
  });
});
