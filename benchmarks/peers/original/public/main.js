const socket = io.connect("/room", { path: "/socket.io" });
socket.on("newRoom", (room) => {
  const row = document.createElement("tr");
  row.dataset.id = room._id;
  for (const text of [room.title, room.password ? "비밀방" : "공개방", room.max, room.owner]) {
    row.append(Object.assign(document.createElement("td"), { textContent: text }));
  }
  document.querySelector("tbody").append(row);
});
socket.on("removeRoom", (id) => document.querySelector(`tr[data-id="${id}"]`)?.remove());
