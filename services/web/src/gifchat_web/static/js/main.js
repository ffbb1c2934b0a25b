/** Starts the scripts of the current page. */

import { pageData } from "./page_data.js";
import { byId, paintSwatches } from "./views/element.js";
import { showRoom } from "./views/room_page.js";
import { showRoomList } from "./views/room_list.js";
import { guardTitle } from "./views/title_field.js";

paintSwatches(document.body);
if (pageData.page === "rooms") showRoomList();
if (pageData.page === "room") showRoom();
if (pageData.page === "new_room") guardTitle(byId("title", HTMLInputElement));
