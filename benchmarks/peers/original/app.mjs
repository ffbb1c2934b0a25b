// The tutorial's chat in one process: Express, sessions in memory, Mongoose, nunjucks, Socket.IO.
// PORT, MONGO_URL
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import ColorHash from "color-hash";
import cookieParser from "cookie-parser";
import express from "express";
import session from "express-session";
import mongoose from "mongoose";
import nunjucks from "nunjucks";
import { router } from "./routes.mjs";
import { serveSockets } from "./sockets.mjs";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const app = express();
const secret = "original";

nunjucks.configure(here("views"), { express: app, watch: false });
app.set("view engine", "html");
await mongoose.connect(process.env.MONGO_URL);

const sessions = session({
  resave: false,
  saveUninitialized: true,
  secret,
  cookie: { httpOnly: true, secure: false },
});
const colors = new (ColorHash.default ?? ColorHash)();

app.use(express.static(here("public")));
app.use(express.json());
app.use(express.urlencoded({ extended: false }));
app.use(cookieParser(secret));
app.use(sessions);
app.use((request, _response, next) => {
  request.session.color ??= colors.hex(request.sessionID);
  next();
});
app.use("/", router);
app.use((request, response) => {
  response.status(404).render("error", { message: `${request.method} ${request.url} 라우터가 없습니다.` });
});
app.use((error, _request, response, _next) => {
  response.status(error.status || 500).render("error", { message: error.message });
});

const http = createServer(app);
app.set("io", serveSockets(http, sessions));
http.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 });
process.on("SIGTERM", () => process.exit(0));
