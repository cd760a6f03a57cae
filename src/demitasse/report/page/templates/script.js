"use strict";

// light and dark: the browser's choice, until the button is pressed
const root = document.documentElement;
const theme = document.querySelector("[data-theme-switch]");
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const showTheme = () => {
  theme.setAttribute("aria-pressed", String(isDark()));
  theme.textContent = isDark() ? "Light" : "Dark";
};
theme.hidden = false;
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
showTheme();

// tables: a click on a header sorts by it, another one the other way
for (const table of document.querySelectorAll("[data-sortable]")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = header.querySelector("button");
    button.disabled = false;
    button.addEventListener("click", () => {
      const rising = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const key = (row) => row.cells[column];
      const order = (one, other) => {
        const [left, right] = [key(one), key(other)];
        const [a, b] = [parseFloat(left?.dataset.value), parseFloat(right?.dataset.value)];
        if (Number.isNaN(a) || Number.isNaN(b)) {
          return Number.isNaN(a) - Number.isNaN(b) || (left?.textContent ?? "").localeCompare(right?.textContent ?? "");
        }
        return a - b;
      };
      const rows = [...table.tBodies[0].rows].sort((one, other) => (rising ? order(one, other) : order(other, one)));
      table.tBodies[0].append(...rows);
    });
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // where the clipboard is not allowed
      button.textContent = "Selected";
    }
  });
}

// charts: the mark nearest to the pointer, or the one that the arrow keys reach, says its value
const NEAR = 28; // pixels
const tip = document.querySelector(".tip");
const isMark = (element) => !["axis", "legend", "title", "group mark container"].includes(element.getAttribute("aria-roledescription"));
for (const plot of document.querySelectorAll(".plot")) {
  const marks = [...plot.querySelectorAll("[role=graphics-symbol][aria-label]")].filter(isMark);
  let chosen = -1;
  const choose = (index) => {
    marks[chosen]?.classList.remove("on");
    chosen = index;
    tip.hidden = index < 0;
    if (index < 0) return;
    const mark = marks[index];
    mark.classList.add("on");
    tip.textContent = mark.getAttribute("aria-label");
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };
  const distance = (mark, event) => {
    const box = mark.getBoundingClientRect();
    const x = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
    const y = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
    return Math.hypot(x, y);
  };
  plot.addEventListener("pointermove", (event) => {
    let best = -1, least = NEAR;
    marks.forEach((mark, index) => {
      const far = distance(mark, event);
      if (far < least) [best, least] = [index, far];
    });
    if (best !== chosen) choose(best);
  });
  plot.addEventListener("pointerleave", () => choose(-1));
  plot.addEventListener("blur", () => choose(-1));
  plot.addEventListener("keydown", (event) => {
    const last = marks.length - 1;
    const places = { ArrowRight: chosen + 1, ArrowDown: chosen + 1, ArrowLeft: chosen - 1, ArrowUp: chosen - 1, Home: 0, End: last };
    if (event.key === "Escape") choose(-1);
    if (!(event.key in places) || !marks.length) return;
    event.preventDefault();
    choose(Math.min(Math.max(places[event.key], 0), last));
  });
}
addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

// weights: a picture to look into, cell by cell
const look = document.querySelector(".look");
const field = look.querySelector(".field");
const sheet = look.querySelector("img");
const cursor = look.querySelector(".cursor");
const buttons = [...document.querySelectorAll("[data-weights]")];
let shown = 0, zoom = 1, place = [0, 0], pixels = null;

const describe = (x, y) => {
  const button = buttons[shown];
  const block = Number(button.dataset.block);
  const legend = JSON.parse(button.dataset.legend);
  const at = 4 * (y * sheet.naturalWidth + x);
  const rgba = pixels.data.slice(at, at + 4);
  const far = ([colour]) => colour.reduce((sum, value, index) => sum + Math.abs(value - rgba[index]), 0);
  const text = rgba[3] ? legend.reduce((best, entry) => (far(entry) < far(best) ? entry : best))[1] : "0";
  if (block > 1) return `cells ${block * y} to ${block * (y + 1) - 1} down, ${block * x} to ${block * (x + 1) - 1} across: ${text === "0" ? "none kept" : text}`;
  const [height, width, inputs, groups] = JSON.parse(button.dataset.tiling);
  const gap = height * width > 1 ? 1 : 0;
  const [high, wide] = [height + gap, width + gap];
  const output = Math.floor(y / high) * groups + Math.floor(x / (inputs * wide));
  const input = Math.floor((x % (inputs * wide)) / wide);
  const [row, column] = [y % high, x % wide];
  if (row >= height || column >= width || output >= Number(button.dataset.outputs)) return "";
  return `output ${output}, input ${input}${gap ? `, row ${row}, column ${column}` : ""}: ${text}`;
};
const point = (x, y) => {
  place = [Math.min(Math.max(x, 0), sheet.naturalWidth - 1), Math.min(Math.max(y, 0), sheet.naturalHeight - 1)];
  const [left, top] = place.map((value) => value * zoom);
  Object.assign(cursor.style, { display: "block", left: `${left}px`, top: `${top}px`, width: `${zoom}px`, height: `${zoom}px` });
  look.querySelector(".value").textContent = describe(...place);
};
const scale = (factor) => {
  zoom = Math.min(Math.max(factor, 1), 64);
  sheet.style.width = `${zoom * sheet.naturalWidth}px`;
  sheet.style.height = `${zoom * sheet.naturalHeight}px`;
  point(...place);
  cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
};
const open = async (index) => {
  shown = (index + buttons.length) % buttons.length;
  const button = buttons[shown], image = button.querySelector("img");
  look.querySelector("h2").textContent = button.dataset.name;
  sheet.src = image.src;
  sheet.alt = image.alt;
  look.querySelector(".legend").replaceChildren(...JSON.parse(button.dataset.legend).map(([colour, text]) => {
    const item = document.createElement("li"), swatch = document.createElement("i");
    const [red, green, blue, opacity] = colour;
    swatch.style.background = `rgb(${red} ${green} ${blue} / ${opacity / 255})`;
    item.append(swatch, text);
    return item;
  }));
  if (!look.open) look.showModal();
  await sheet.decode();
  const canvas = new OffscreenCanvas(sheet.naturalWidth, sheet.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(sheet, 0, 0);
  pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  place = [0, 0];
  scale(Math.floor(Math.min(32, field.clientWidth / sheet.naturalWidth, field.clientHeight / sheet.naturalHeight)));
  field.focus();
};
buttons.forEach((button, index) => {
  button.disabled = false;
  button.addEventListener("click", () => open(index));
});
for (const tool of look.querySelectorAll("[data-step]")) tool.addEventListener("click", () => open(shown + Number(tool.dataset.step)));
const zoomBy = (sign) => scale(sign > 0 ? Math.ceil(zoom * 1.4) : Math.floor(zoom / 1.4));
for (const tool of look.querySelectorAll("[data-zoom]")) tool.addEventListener("click", () => zoomBy(Number(tool.dataset.zoom)));
look.querySelector("[data-close]").addEventListener("click", () => look.close());
look.addEventListener("close", () => buttons[shown].focus());
const pointed = (event) => {
  const box = sheet.getBoundingClientRect();
  if (pixels) point(Math.floor((event.clientX - box.left) / zoom), Math.floor((event.clientY - box.top) / zoom));
};
sheet.addEventListener("pointermove", pointed);
sheet.addEventListener("pointerdown", pointed);
field.addEventListener("keydown", (event) => {
  const moves = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  if (event.key in moves) {
    event.preventDefault();
    const [x, y] = moves[event.key];
    point(place[0] + x, place[1] + y);
    cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  } else if (event.key === "+" || event.key === "-") {
    zoomBy(event.key === "+" ? 1 : -1);
  }
});
