/** A picture in a message. It shows the still frame first, then the animation unless the user prefers reduced motion. */

import { text } from "../page_data.js";
import { element } from "./element.js";

const MAY_MOVE = /\.(gif|webp)$/;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * A GIF with a button that plays and pauses it. A file that is being uploaded has no still frame, so the file itself is shown.
 *
 * @param {Page.Gif} gif
 * @param {string} alt
 */
export function gifView(gif, alt) {
  const image = element("img", { alt, width: gif.width, height: gif.height, decoding: "async" });
  const view = element("div", { class: "gif" }, image);
  if (gif.width && gif.height) {
    // Reserve space for the picture, so that nothing moves when it loads.
    view.classList.add("sized");
    view.style.setProperty("--width", `${gif.width}px`);
    view.style.setProperty("--ratio", String(gif.width / gif.height));
  }
  image.addEventListener("error", () =>
    view.replaceChildren(element("p", { class: "gif-failed" }, text("gif_failed"))),
  );
  if (!MAY_MOVE.test(gif.url)) {
    image.src = gif.url;
    return view;
  }

  let plays = false;
  const toggle = element("button", { type: "button", class: "gif-toggle" });
  /** @param {boolean} playing */
  const show = (playing) => {
    plays = playing;
    image.src = playing ? gif.url : gif.stillUrl;
    toggle.dataset.playing = String(playing);
    toggle.textContent = playing ? "❚❚" : "▶\uFE0E";
    toggle.setAttribute("aria-label", text(playing ? "pause_gif" : "play_gif"));
  };
  toggle.addEventListener("click", () => show(!plays));
  show(false);
  view.append(toggle);
  if (!reducedMotion.matches) {
    const moving = new Image();
    moving.addEventListener("load", () => show(true), { once: true });
    moving.src = gif.url;
  }
  return view;
}
