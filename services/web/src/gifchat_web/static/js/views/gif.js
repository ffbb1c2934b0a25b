/** A picture in a message. It shows the still frame first, then the animation unless the user prefers reduced motion. */

import { text } from "../page_data.js";
import { element } from "./element.js";

const MAY_MOVE = /\.(gif|webp)$/;
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * Whether the picture is animated. Old messages do not say, so there the name decides.
 *
 * @param {Page.Gif} gif
 */
const moves = ({ frames, url }) => (frames === undefined ? MAY_MOVE.test(url) : frames > 1);

/**
 * A GIF with a button that plays and pauses it; a still picture has none. A file that is being uploaded has no still frame, so the file itself is shown.
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
  if (!moves(gif)) {
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
