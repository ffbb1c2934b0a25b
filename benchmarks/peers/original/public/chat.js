const room = location.pathname.split("/").pop();
const socket = io.connect("/chat", { path: "/socket.io" });
socket.emit("join", room);
socket.on("chat", (message) => {
  const row = document.createElement("div");
  row.append(Object.assign(document.createElement("div"), { textContent: message.user }));
  row.append(Object.assign(document.createElement("div"), { textContent: message.chat }));
  document.querySelector("#chat-list").append(row);
});
document.querySelector("#chat-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.chat;
  fetch(`/room/${room}/chat`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ chat: field.value }),
  });
  field.value = "";
});
