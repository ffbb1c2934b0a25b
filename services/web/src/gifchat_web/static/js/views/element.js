/** DOM nodes from values. Text is always text: nothing here parses HTML. */

/**
 * An element. `properties`: `class`, `on: {event: listener}`, attributes; `true` is an attribute without a value, `false`
 * and `undefined` are left out. `children`: nodes and strings; `null` is left out.
 */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value === true) {
      node.setAttribute(key, "");
    } else if (value !== false && value !== undefined) {
      node.setAttribute(key, value);
    }
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** A dot in a user's colour. By the CSSOM: the content security policy lets no style attribute through. */
export function swatch(color) {
  return paint(element("span", { class: "swatch" }), color);
}

/** Give the swatches that the server rendered their colours. */
export function paintSwatches(root) {
  for (const node of root.querySelectorAll(".swatch[data-color]")) paint(node, node.dataset.color);
}

function paint(node, color) {
  if (/^#[0-9a-f]{6}$/.test(color)) node.style.setProperty("--user-color", color);
  return node;
}
