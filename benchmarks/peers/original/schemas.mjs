import mongoose from "mongoose";

const { Schema } = mongoose;

export const Room = mongoose.model(
  "Room",
  new Schema({
    title: { type: String, required: true },
    max: { type: Number, required: true, default: 10, min: 2 },
    owner: { type: String, required: true },
    password: String,
    createdAt: { type: Date, default: Date.now },
  }),
);

export const Chat = mongoose.model(
  "Chat",
  new Schema({
    room: { type: Schema.Types.ObjectId, required: true, ref: "Room" },
    user: { type: String, required: true },
    chat: String,
    gif: String,
    createdAt: { type: Date, default: Date.now },
  }),
);
