/** Opens Socket.IO sessions: with WebSocket, or with long-polling if the network blocks WebSockets. */

import { io } from "../vendor/socket.io-client-4.8.4/socket.io.esm.min.js";

/**
 * Open a session in `namespace`.
 *
 * @param {string} namespace
 */
export function openSocket(namespace) {
  return io(namespace, {
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    // The page rejoins its room itself, with its position.
    auth: { restore: false },
    reconnectionDelay: 500,
    reconnectionDelayMax: 5_000,
    randomizationFactor: 0.7,
  });
}
