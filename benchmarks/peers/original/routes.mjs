import express from "express";
import { Chat, Room } from "./schemas.mjs";

export const router = express.Router();

const refused = (response, text) => response.redirect(`/?error=${encodeURIComponent(text)}`);

router.get("/", async (_request, response, next) => {
  try {
    const rooms = await Room.find({});
    response.render("main", { rooms, title: "GIF 채팅방" });
  } catch (error) {
    next(error);
  }
});

router.get("/room", (_request, response) => {
  response.render("room", { title: "GIF 채팅방 생성" });
});

router.post("/room", async (request, response, next) => {
  try {
    const room = await Room.create({
      title: request.body.title,
      max: request.body.max,
      owner: request.session.color,
      password: request.body.password,
    });
    request.app.get("io").of("/room").emit("newRoom", room);
    response.redirect(
      request.body.password ? `/room/${room._id}?password=${request.body.password}` : `/room/${room._id}`,
    );
  } catch (error) {
    next(error);
  }
});

router.get("/room/:id", async (request, response, next) => {
  try {
    const room = await Room.findOne({ _id: request.params.id });
    if (!room) return refused(response, "존재하지 않는 방입니다.");
    if (room.password && room.password !== request.query.password) return refused(response, "비밀번호가 틀렸습니다.");
    const { rooms } = request.app.get("io").of("/chat").adapter;
    if (room.max <= rooms.get(request.params.id)?.size) return refused(response, "허용 인원을 초과했습니다.");
    return response.render("chat", { room, title: room.title, chats: [], user: request.session.color });
  } catch (error) {
    return next(error);
  }
});

router.delete("/room/:id", async (request, response, next) => {
  try {
    await Room.deleteOne({ _id: request.params.id });
    await Chat.deleteMany({ room: request.params.id });
    request.app.get("io").of("/room").emit("removeRoom", request.params.id);
    response.send("ok");
  } catch (error) {
    next(error);
  }
});

router.post("/room/:id/chat", async (request, response, next) => {
  try {
    const chat = await Chat.create({
      room: request.params.id,
      user: request.session.color,
      chat: request.body.chat,
    });
    request.app.get("io").of("/chat").to(request.params.id).emit("chat", chat);
    response.send("ok");
  } catch (error) {
    next(error);
  }
});
