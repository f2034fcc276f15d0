// The three ways in: files that are dropped anywhere, pasted, or chosen. Folders are walked.

export function takePhotos(input, buttons, add) {
  for (const button of buttons) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });

  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      add(files);
    }
  });

  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => document.body.classList.toggle("dropping", shown);
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    show(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget === null && show(false));
  document.addEventListener("drop", async (event) => {
    show(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
    const files = [...event.dataTransfer.files];
    add(entries.some((entry) => entry?.isDirectory) ? (await Promise.all(entries.map(walk))).flat() : files);
  });
}

async function walk(entry) {
  if (!entry) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const files = [];
  for (let batch; (batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) {
    for (const child of batch) if (!child.name.startsWith(".")) files.push(...(await walk(child)));
  }
  return files;
}
