/** The owner's two dialogs: one for a message and its sender, one for the room. */

import { pageData, problemText, text } from "../page_data.js";
import { checkTitle } from "../text_policy.js";
import { element, swatch } from "./element.js";
import { guardTitle } from "./title_field.js";
/** @import { RoomsApi } from "../rooms_api.js" */

const SLOW_MODE_CHOICES_S = [0, 5, 10, 30, 60, 300];

export class OwnerMenu {
  #api;
  #room;
  #say;

  /**
   * `room()` returns the current room. `say(words)` shows the owner the result.
   *
   * @param {RoomsApi} api
   * @param {() => Wire.Room} room
   * @param {(words: string) => void} say
   */
  constructor(api, room, say) {
    this.#api = api;
    this.#room = room;
    this.#say = say;
  }

  /**
   * Open the dialog about a message in the log.
   *
   * @param {Page.MessageRow & {seq: number}} row
   */
  openForMessage(row) {
    const { _id: roomId } = this.#room();
    const { userId } = row;
    /** @type {[key: string, action: () => Promise<unknown>][]} */
    const choices = [["delete_message", () => this.#api.deleteMessage(roomId, row.seq)]];
    if (!row.mine) {
      choices.push(
        ["mute_10_minutes", () => this.#api.sanction(roomId, "mutes", userId, 600)],
        ["unmute_user", () => this.#api.liftSanction(roomId, "mutes", userId)],
        ["kick_user", () => this.#api.kick(roomId, userId)],
        ["ban_1_hour", () => this.#api.sanction(roomId, "bans", userId, 3_600)],
        ["ban_permanently", () => this.#api.sanction(roomId, "bans", userId)],
        ["unban_user", () => this.#api.liftSanction(roomId, "bans", userId)],
      );
    }
    const dialog = this.#dialog(element("span", {}, swatch(row.color), row.color));
    for (const [key, action] of choices) {
      const run = () => this.#run(dialog, action);
      dialog.append(element("button", { type: "button", class: "button menu-item", on: { click: run } }, text(key)));
    }
    dialog.append(closeButton(dialog));
    dialog.showModal();
  }

  /** Open the dialog about the room. */
  openForRoom() {
    const room = this.#room();
    const { limits } = pageData;
    const title = element("input", {
      name: "title",
      value: room.title,
      required: true,
    });
    guardTitle(title);
    const max = element("input", {
      name: "max",
      type: "number",
      inputmode: "numeric",
      value: room.max,
      min: limits.room_max_min,
      max: limits.room_max_max,
      required: true,
    });
    const seconds = new Set([...SLOW_MODE_CHOICES_S, room.slow_mode_s]);
    const slowMode = element(
      "select",
      { name: "slow_mode_s" },
      ...[...seconds]
        .sort((a, b) => a - b)
        .map((count) =>
          element(
            "option",
            { value: count, selected: count === room.slow_mode_s },
            count === 0 ? text("slow_mode_none") : text("seconds", { count }),
          ),
        ),
    );
    const password = element("input", {
      name: "password",
      type: "password",
      autocomplete: "new-password",
      maxlength: limits.password_max_chars,
    });
    const open = element("input", { name: "open", type: "checkbox" });
    const dialog = this.#dialog(text("room_settings"));
    const form = element(
      "form",
      { class: "stack", method: "dialog" },
      element("label", {}, text("room_title"), title),
      element("label", {}, text("room_max_label"), max),
      element("label", {}, text("slow_mode"), slowMode),
      element("label", {}, text("new_password"), password),
      room.private ? element("label", { class: "check" }, open, text("remove_password")) : null,
      element(
        "div",
        { class: "actions" },
        closeButton(dialog),
        element("button", { class: "button primary" }, text("save")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      /** @type {Page.RoomChanges} */
      const changes = {};
      const { text: newTitle } = checkTitle(title.value, limits);
      if (newTitle !== room.title) changes.title = newTitle;
      if (max.valueAsNumber !== room.max) changes.max = max.valueAsNumber;
      if (Number(slowMode.value) !== room.slow_mode_s) changes.slow_mode_s = Number(slowMode.value);
      if (open.checked) changes.password = null;
      else if (password.value !== "") changes.password = password.value;
      if (Object.keys(changes).length === 0) dialog.close();
      else this.#run(dialog, () => this.#api.changeRoom(room._id, changes));
    });
    const remove = () => {
      if (confirm(text("delete_room_sure", room))) this.#run(dialog, () => this.#api.deleteRoom(room._id));
    };
    dialog.append(
      form,
      element("button", { type: "button", class: "button danger", on: { click: remove } }, text("delete_room")),
    );
    dialog.showModal();
  }

  /** @param {Node | string} heading */
  #dialog(heading) {
    const error = element("p", { class: "dialog-error", role: "alert" });
    const title = element("h2", { id: "dialog-heading" }, heading);
    const dialog = element("dialog", { class: "card", "aria-labelledby": "dialog-heading" }, title, error);
    dialog.addEventListener("close", () => dialog.remove());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    return dialog;
  }

  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => Promise<unknown>} action
   */
  async #run(dialog, action) {
    try {
      await action();
      dialog.close();
      this.#say(text("done"));
    } catch (problem) {
      dialog.querySelector(".dialog-error")?.replaceChildren(problemText(/** @type {Page.Problem} */ (problem)));
    }
  }
}

/** @param {HTMLDialogElement} dialog */
function closeButton(dialog) {
  return element("button", { type: "button", class: "button", on: { click: () => dialog.close() } }, text("close"));
}
