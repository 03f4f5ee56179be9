// The reference, and a session for trying things out. The session is kept by this page alone, in memory.
"use strict";

const API = "/zstack/v1";
const part = (id) => document.getElementById(id);
let session = null;

const ui = SwaggerUIBundle({
  url: "openapi.json",
  domNode: part("reference"),
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayOperationId: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  onComplete: () => { part("login").querySelector("button").disabled = false; },
  responseInterceptor: (reply) => {
    if (session !== null && reply.status === 503 && String(reply.text).includes('"ID.1001"')) {
      ended("The session has ended.");
    }
    return reply;
  },
});

part("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = part("account").value;
  const said = { logInByAccount: { accountName: name, password: sha512(part("password").value) } };
  part("notice").textContent = "";
  try {
    const reply = await send("PUT", "/accounts/login", said);
    begun(name, reply.inventory);
  } catch (e) {
    part("notice").textContent = e.message;
  }
});

part("logout").addEventListener("click", async () => {
  try {
    await send("DELETE", `/accounts/sessions/${session}`);
    ended("");
  } catch (e) {
    part("notice").textContent = e.message;
  }
});

async function send(method, path, body) {
  let reply;
  try {
    reply = await fetch(API + path, {
      method, body: JSON.stringify(body), headers: { "Content-Type": "application/json;charset=UTF-8" },
    });
  } catch {
    throw new Error("The server can't be reached.");
  }
  const text = await reply.text();
  if (reply.ok) return JSON.parse(text);
  throw new Error(reply.status === 503 ? JSON.parse(text).error.details : text);
}

function begun(name, opened) {
  session = opened.uuid;
  ui.preauthorizeApiKey("session", `OAuth ${session}`);
  part("password").value = "";
  part("who").textContent = `${name}, until ${opened.expiredDate} UTC`;
  show(true);
}

function ended(why) {
  session = null;
  ui.authActions.logout(["session"]);
  part("notice").textContent = why;
  show(false);
}

function show(isLoggedIn) {
  part("login").hidden = isLoggedIn;
  part("session").hidden = !isLoggedIn;
}
