// The viewer of a case's page: NiiVue draws one panel for each scan; this script does all that the panels share.
// The page's JSON (viewer.py) holds the scans and masks. Nothing is fetched.
"use strict";
(() => {
  const SCREEN = { axial: 0, coronal: 1, sagittal: 2, all: 3 }; // NiiVue's numbers
  const FAINTEST = 0.004; // NiiVue draws no outline where the filling is fully transparent
  const WHEEL_STEP = 40; // pixels of scrolling that turn one slice
  const LINE = 1.05; // pixels of the crosshair's lines
  const byId = (id) => document.getElementById(id);
  const chosen = (name) => [...document.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);
  const data = JSON.parse(byId("viewer-data").textContent);
  const body = byId("viewer-body");
  const panels = []; // { scan, nv, figure, canvas, output }, in the task's order
  const labels = {}; // labels by mask, in NiiVue's order of voxels
  let voxel = [0, 0, 0]; // of the crosshair
  let size = [1, 1, 1]; // of the grid, in voxels
  let drawing = false; // requested and not done yet
  let windowChanged = false;

  // ---------------------------------------------------------------- start

  // The browser's name for what draws WebGL2; null where WebGL2 is missing.
  function renderer() {
    const context = document.createElement("canvas").getContext("webgl2");
    if (!context) return null;
    const exact = context.getExtension("WEBGL_debug_renderer_info");
    const name = context.getParameter(exact ? exact.UNMASKED_RENDERER_WEBGL : context.RENDERER);
    context.getExtension("WEBGL_lose_context")?.loseContext();
    return name;
  }

  async function start() {
    byId("viewer-missing").textContent = "Opening the viewer …";
    body.hidden = false;
    layOut();
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    try {
      for (const scan of data.scans) panels.push(await openPanel(scan));
      size = panels[0].nv.volumes[0].dimsRAS.slice(1, 4);
      await openMasks();
      listen();
      reset();
      byId("viewer-missing").remove();
      document.documentElement.dataset.viewer = "ready";
    } catch (error) {
      body.hidden = true;
      byId("viewer-missing").textContent = "The interactive viewer could not start in this browser; the pictures below show the same scans.";
      document.documentElement.dataset.viewer = "failed";
      console.error(error);
    }
  }

  async function openPanel(scan) {
    const figure = [...document.querySelectorAll(".panel")].find((own) => own.dataset.scan === scan.name);
    const canvas = figure.querySelector("canvas");
    const nv = new niivue.Niivue({
      logLevel: "error", interactive: false, dragAndDropEnabled: false, loadingText: "",
      isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientationTextVisible: false,
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarLayout: niivue.MULTIPLANAR_TYPE.COLUMN,
      multiplanarPadPixels: 4, crosshairColor: [0.35, 0.8, 0.88, 1], crosshairWidthUnit: "mm", crosshairGap: 16,
    });
    await nv.attachToCanvas(canvas, false);
    const drawScene = nv.drawScene.bind(nv);
    nv.drawScene = () => { if (canvas.clientWidth) drawScene(); };  // a hidden canvas has no size
    const [low, high] = scan.window;
    nv.drawRimOpacity = 1;
    if (data.masks.length) nv.drawLut = niivue.cmapper.makeDrawLut(colourTable());
    nv.addVolume(await openNifti(scan, { colormap: "gray", cal_min: low, cal_max: high }));
    return { scan, nv, figure, canvas, output: figure.querySelector("output"), letters: figure.querySelector(".letters") };
  }

  function openNifti(entry, settings = {}) {
    return niivue.NVImage.loadFromBase64({ base64: entry.nifti, name: `${entry.name}.nii.gz`, ...settings });
  }

  async function openMasks() {
    for (const mask of data.masks) {
      const image = await openNifti(mask);
      for (const { nv } of panels) if (!nv.loadDrawing(image)) throw new Error("the mask does not fit the scans");
      labels[mask.name] = panels[0].nv.drawBitmap.slice();
    }
  }

  function colourTable() {
    const colours = data.regions.map((_, index) => colourOf(index));
    const channel = (index) => [0, ...colours.map((colour) => colour[index])];
    return {
      R: channel(0), G: channel(1), B: channel(2), A: [0, ...colours.map(() => 255)],
      I: [0, ...colours.map((_, index) => index + 1)], labels: ["", ...data.regions.map((region) => region.name)],
    };
  }

  // The style sheet knows the colours of the regions; here they become numbers.
  function colourOf(index) {
    const swatch = document.querySelector(`.swatch.region-${index}`);
    const words = getComputedStyle(swatch).getPropertyValue("--line").trim();
    const digits = /^#[0-9a-f]{6}$/i.test(words) ? words.slice(1) : "ffffff";
    return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
  }

  // ---------------------------------------------------------------- the crosshair, shared by all panels

  const fractions = () => voxel.map((index, axis) => (index + 0.5) / size[axis]);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function moveTo(target) {
    voxel = target.map((index, axis) => clamp(Math.round(index), 0, size[axis] - 1));
    for (const { nv } of panels) nv.scene.crosshairPos = fractions();
    describe();
    draw();
  }

  function moveAlong(axis, steps) {
    moveTo(voxel.map((index, own) => index + (own === axis ? steps : 0)));
  }

  // Where an event lies on the canvas, in its own pixels.
  function pointOf({ canvas }, event) {
    const edge = canvas.getBoundingClientRect();
    const ratio = canvas.width / edge.width;
    return [(event.clientX - edge.left) * ratio, (event.clientY - edge.top) * ratio];
  }

  function moveToPoint(panel, event) {
    const found = panel.nv.canvasPos2frac(pointOf(panel, event));
    if (found[0] >= 0) moveTo([...found].map((fraction, axis) => fraction * size[axis] - 0.5));
  }

  const plane = () => chosen("viewer-plane")[0];
  const normal = () => (data.planes.find((own) => own.name === plane()) ?? data.planes[0]).normal;

  function describe() {
    const [first] = panels;
    const mm = [...first.nv.frac2mm(fractions(), 0, true)].slice(0, 3);
    const words = mm.map((value, axis) => `${"xyz"[axis]} ${value.toFixed(0).replace(/^-0$/, "0").replace("-", "−")}`);
    const inside = regionsAt(voxel).map((region) => region.title);
    byId("viewer-place").textContent = `${words.join(", ")} mm${inside.length ? ` · ${inside.join(", ")}` : ""}`;
    for (const { scan, nv, output } of panels) output.textContent = greyValue(scan, nv);
    const axis = normal();
    const turned = data.planes.find((own) => own.normal === axis).name;
    byId("viewer-slice").max = size[axis];
    byId("viewer-slice").value = voxel[axis] + 1;
    byId("viewer-slice-name").textContent = `${turned[0].toUpperCase()}${turned.slice(1)} slice ${voxel[axis] + data.first[axis] + 1} of ${data.count[axis]}`;
  }

  // Step 0 stands for exactly 0; the others for a grey value to half a step.
  function greyValue(scan, nv) {
    const value = nv.volumes[0].getValue(...voxel);
    if (value < scan.intercept + scan.slope / 2) return "0";
    const digits = Math.max(0, -Math.floor(Math.log10(scan.slope)));
    return value.toFixed(Math.min(digits, 6)).replace("-", "−");
  }

  function regionsAt([x, y, z]) {
    const shown = labels[chosen("viewer-mask")[0]];
    const label = shown ? shown[x + size[0] * (y + size[1] * z)] : 0;
    return data.regions.filter((region) => region.labels.includes(label));
  }

  // ---------------------------------------------------------------- what is shown

  function draw() {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      if (windowChanged) panels.forEach(changeGreys);
      windowChanged = false;
      for (const panel of panels) if (!panel.figure.hidden) drawPanel(panel);
    });
  }

  // NiiVue knows the crosshair's width in mm; on the screen it must not depend on the size of the panel.
  function drawPanel({ nv, canvas, letters }) {
    nv.drawScene();
    const [tile] = nv.screenSlices;
    const width = (LINE * devicePixelRatio * Math.abs(tile.fovMM[0])) / tile.leftTopWidthHeight[2];
    if (Math.abs(width / nv.opts.crosshairWidth - 1) > 0.02) nv.setCrosshairWidth(width);
    const tiles = nv.screenSlices.map(({ axCorSag, leftTopWidthHeight: [left, top, across, down] }) => ({
      plane: data.planes.find((own) => own.normal === 2 - axCorSag),
      left: left / canvas.width, top: top / canvas.height, width: across / canvas.width, height: down / canvas.height,
    }));
    const shown = JSON.stringify(tiles);
    if (letters.dataset.shown !== shown) letters.replaceChildren(...tiles.map(edgeLetters));
    letters.dataset.shown = shown;
  }

  // The same letters as at the edges of the pictures.
  function edgeLetters({ plane, ...box }) {
    const tile = document.createElement("div");
    for (const [side, share] of Object.entries(box)) tile.style[side] = `${share * 100}%`;
    ["left", "right", "top", "bottom"].forEach((side, index) => {
      const letter = tile.appendChild(document.createElement("span"));
      letter.className = `edge ${side}`;
      letter.textContent = plane.edges[index];
    });
    return tile;
  }

  // Every voxel takes the colour of the innermost region that is switched on and holds its label.
  function showMask() {
    const visible = chosen("viewer-region");
    const shown = labels[chosen("viewer-mask")[0]];
    const painted = new Uint8Array(256);
    data.regions.forEach((region, index) => {
      if (shown && visible.includes(region.name)) for (const label of region.labels) painted[label] = index + 1;
    });
    const bitmap = (shown ?? Object.values(labels)[0])?.map((label) => painted[label]);
    for (const { nv } of panels) {
      if (!bitmap) continue;
      nv.drawBitmap = bitmap;
      nv.drawOpacity = Math.max(byId("viewer-opacity").value / 100, FAINTEST);
      nv.refreshDrawing(false);
    }
    describe();
    draw();
  }

  function showPanels() {
    const visible = chosen("viewer-scan");
    for (const { scan, figure } of panels) figure.hidden = !visible.includes(scan.name);
    layOut();
    for (const { nv } of panels) nv.setSliceType(SCREEN[plane()]);
    describe();
    draw();
  }

  // Columns and the shape of a panel; NiiVue follows the size of its canvas by itself.
  function layOut() {
    const count = Math.max(chosen("viewer-scan").length, 1);
    const [x, y, z] = data.size;
    const ratios = { axial: x / y, coronal: x / z, sagittal: y / z, all: Math.max(x, y) / (y + 2 * z) };
    const { style, classList } = byId("viewer-panels");
    classList.toggle("broad", count > 2);
    style.setProperty("--wide", count);
    style.setProperty("--narrow", Math.min(count, 2));
    style.setProperty("--ratio", ratios[plane()].toFixed(4));
    style.setProperty("--tallest", plane() === "all" ? "130vh" : "76vh");
  }

  function showWindow() {
    windowChanged = true;
    draw();
  }

  // Around the window of the pictures: brightness moves it by at most its width, contrast makes it 4 times wider or narrower.
  function changeGreys({ scan, nv }) {
    const brightness = byId("viewer-brightness").value / 100;
    const contrast = byId("viewer-contrast").value / 100;
    const [low, high] = scan.window;
    const middle = (low + high) / 2 - brightness * (high - low);
    const half = ((high - low) / 2) * 4 ** -contrast;
    const wanted = { cal_min: middle - half, cal_max: middle + half };
    const [volume] = nv.volumes;
    if (volume.cal_min === wanted.cal_min && volume.cal_max === wanted.cal_max) return;
    Object.assign(volume, wanted);
    nv.updateGLVolume();
  }

  // The crosshair stays where it is on the screen.
  function showZoom() {
    const zoom = Number(byId("viewer-zoom").value);
    for (const { nv } of panels) {
      const [x, y, z, before] = nv.scene.pan2Dxyzmm;
      const mm = nv.frac2mm(nv.scene.crosshairPos);
      const pan = zoom === 1 ? [0, 0, 0] : [x, y, z].map((offset, axis) => offset + (before - zoom) * mm[axis]);
      nv.scene.pan2Dxyzmm = [...pan, zoom];
    }
    draw();
  }

  function reset() {
    for (const id of ["viewer-zoom", "viewer-brightness", "viewer-contrast", "viewer-opacity"]) {
      const input = byId(id);
      if (input) input.value = input.defaultValue;
    }
    for (const input of body.querySelectorAll("input[name]")) input.checked = input.defaultChecked;
    const { nv } = panels[0];
    voxel = [...nv.mm2frac(data.start, 0, true)].map((fraction, axis) => fraction * size[axis] - 0.5);
    showPanels();
    showMask();
    showWindow();
    showZoom();
    moveTo(voxel);
  }

  // ---------------------------------------------------------------- mouse and keys

  function listen() {
    body.addEventListener("change", ({ target }) => {
      if (["viewer-plane", "viewer-scan"].includes(target.name)) showPanels();
      if (["viewer-mask", "viewer-region"].includes(target.name)) showMask();
    });
    const slides = { "viewer-opacity": showMask, "viewer-zoom": showZoom, "viewer-brightness": showWindow, "viewer-contrast": showWindow };
    for (const [id, act] of Object.entries(slides)) byId(id)?.addEventListener("input", act);
    byId("viewer-slice").addEventListener("input", ({ target }) => moveAlong(normal(), target.value - 1 - voxel[normal()]));
    byId("viewer-reset").addEventListener("click", reset);
    panels.forEach(listenToPanel);
    new ResizeObserver(() => requestAnimationFrame(draw)).observe(byId("viewer-panels"));
  }

  function listenToPanel(panel) {
    const { canvas } = panel;
    let scrolled = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      if (event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
      if (event.button === 0) moveToPoint(panel, event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 2) changeWindow(event.movementX, event.movementY);
      else if (event.buttons & 1) moveToPoint(panel, event);
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => {
      if (pressKey(event.key, canvas)) event.preventDefault();
    });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas || event.ctrlKey) return; // the page scrolls until the panel was clicked
      event.preventDefault();
      scrolled += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * WHEEL_STEP;
      const steps = Math.trunc(scrolled / WHEEL_STEP);
      scrolled -= steps * WHEEL_STEP;
      const tile = panel.nv.screenSlices[panel.nv.tileIndex(...pointOf(panel, event))];
      if (steps) moveAlong(tile ? 2 - tile.axCorSag : normal(), -steps);
    }, { passive: false });
  }

  function pressKey(key, canvas) {
    const [across, up] = { 0: [1, 2], 1: [0, 2], 2: [0, 1] }[normal()];
    const moves = { // in all three planes, higher indices lie further left and further up
      ArrowLeft: () => moveAlong(across, 1), ArrowRight: () => moveAlong(across, -1),
      ArrowUp: () => moveAlong(up, 1), ArrowDown: () => moveAlong(up, -1),
      PageUp: () => moveAlong(normal(), 1), PageDown: () => moveAlong(normal(), -1),
      m: toggleMask, M: toggleMask, Escape: () => canvas.blur(),
    };
    moves[key]?.();
    return key in moves;
  }

  let lastMask = "";
  function toggleMask() {
    const [now] = chosen("viewer-mask");
    if (now === undefined) return;
    const next = now ? "" : lastMask || data.masks[0].name;
    lastMask = now || lastMask;
    body.querySelector(`input[name="viewer-mask"][value="${next}"]`).checked = true;
    showMask();
  }

  function changeWindow(across, down) {
    byId("viewer-contrast").valueAsNumber += across / 2;
    byId("viewer-brightness").valueAsNumber -= down / 2;
    showWindow();
  }

  // ---------------------------------------------------------------- begin

  function startWhenNear() {
    const watcher = new IntersectionObserver((seen) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      start();
    }, { rootMargin: "400px" });
    watcher.observe(byId("viewer"));
  }

  function startWhenAsked() {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Open the viewer";
    button.addEventListener("click", start, { once: true });
    byId("viewer-missing").replaceChildren(button, " This browser draws without a graphics card, so opening takes a while.");
  }

  const found = renderer();
  if (found === null) return;
  if (/swiftshader|llvmpipe|softpipe|software|basic render/i.test(found)) startWhenAsked();
  else startWhenNear();
})();
