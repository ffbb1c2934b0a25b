/** Builds DOM nodes from values. It never parses HTML, so text cannot become markup. */

/**
 * The element of the page with this id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 */
export function byId(id, kind = /** @type {any} */ (HTMLElement)) {
  const node = document.getElementById(id);
  if (!(node instanceof kind)) throw new TypeError(`The page has no ${kind.name} with the id ${id}.`);
  return node;
}

/**
 * Make an element. `properties` are `class`, `on: {event: listener}` and attributes. `true` is an attribute without a
 * value. `false` and `undefined` are left out, and so are children that are `null`.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, any>} properties
 * @param {(Node | string | null)[]} children
 */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) {
        node.addEventListener(event, /** @type {EventListener} */ (listener));
      }
    } else if (value === true) {
      node.setAttribute(key, "");
    } else if (value !== false && value !== undefined) {
      node.setAttribute(key, value);
    }
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * A dot in a user's colour. The content security policy forbids style attributes, so the CSSOM sets the colour.
 *
 * @param {string} color
 */
export function swatch(color) {
  return paint(element("span", { class: "swatch" }), color);
}

/**
 * Give the swatches that the server rendered their colours.
 *
 * @param {ParentNode} root
 */
export function paintSwatches(root) {
  for (const node of root.querySelectorAll(".swatch[data-color]")) {
    if (node instanceof HTMLElement) paint(node, node.dataset.color ?? "");
  }
}

/**
 * @param {HTMLElement} node
 * @param {string} color
 */
function paint(node, color) {
  if (/^#[0-9a-f]{6}$/.test(color)) node.style.setProperty("--user-color", color);
  return node;
}
