// Keeps the page as it is now: loads it again every two seconds, and changes what differs. Focus, selection and opened
// parts stay. Without this script the page is complete, and the browser loads it again by itself.
"use strict";

const INTERVAL = 2000;
const LONGEST = 15000;
const PATIENCE = 10000;

const connection = document.getElementById("connection");
const announcement = document.getElementById("announcement");
const sentence = () => document.querySelector("h1").textContent;
// A screen reader need not hear that 4 seconds became 5.
const withoutNumbers = (text) => text.replace(/[\d.,]+/g, "");

let seen = new Date();
let failures = 0;
let timer = 0;
let isRunning = false;
let announced = withoutNumbers(sentence());

async function update() {
  clearTimeout(timer);
  if (isRunning) return;
  isRunning = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`The service answers ${answer.status}`);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (next.documentElement.dataset.version !== document.documentElement.dataset.version) return location.reload();
    for (const place of ["title", "header", "#live"]) {
      change(document.querySelector(place), next.querySelector(place));
    }
    failures = 0;
    seen = new Date();
    connection.hidden = true;
    connection.textContent = "";
    announce();
  } catch (error) {
    failures += 1;
    const why = error.message.startsWith("The service") ? error.message : "The service does not answer";
    const text = `${why}. This page shows how it was at ${seen.toISOString().slice(11, 19)} UTC.`;
    if (connection.textContent !== text) connection.textContent = text;
    connection.hidden = false;
  }
  document.body.classList.toggle("outdated", failures > 0);
  isRunning = false;
  plan();
}

function announce() {
  const now = withoutNumbers(sentence());
  if (now === announced) return;
  announced = now;
  announcement.textContent = sentence();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(update, Math.min(INTERVAL * 2 ** Math.min(failures, 3), LONGEST));
}

// Makes the old element equal to the new one, with as few changes as possible.
function change(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // The reader has opened it.
    if (!next.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  changeChildren(old, next);
}

// An element with an id stays the same element also if others appear or disappear before it.
function changeChildren(old, next) {
  const ids = new Set([...next.children].map((each) => each.id));
  let place = old.firstChild;
  const drop = () => {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  };
  for (const node of [...next.childNodes]) {
    while (place?.id && !ids.has(place.id)) drop();
    const known = node.id && [...old.children].find((each) => each.id === node.id);
    while (known && place && place !== known && !place.id) drop();
    if (place && place.nodeName === node.nodeName && (place.id || "") === (node.id || "")) {
      change(place, node);
      place = place.nextSibling;
    } else {
      old.insertBefore(node, place);
    }
  }
  while (place) drop();
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : update()));
plan();
