// What the service's codes and numbers mean to a person.

const WARNINGS = {
  no_subject: "No subject was found: the result is empty.",
  animated_first_frame: "The file is animated; its first frame was taken.",
  color_profile_ignored: "The colour profile could not be used; colours may differ a little.",
  low_contrast_edge: "Part of the edge lies between like colours: look at it closely.",
  subject_touches_border: "The subject reaches the photo's border and may be cut off there.",
  several_subjects: "There is more than one subject.",
  enlarged: "The subject was enlarged to twice its size or more: it looks soft.",
  probably_transparent: "Much of the subject looks see-through, like glass; its transparency is an estimate.",
};

export const QUALITIES = {
  fast: ["Fast", "Quickest; hard edges, no fine hair."],
  standard: ["Standard", "Hair, fur and glass; right for nearly everything."],
  high: ["High", "Best for large photos and hard subjects; takes longest."],
};

const MODES = { portrait: "treated as a person or animal", product: "treated as a product", object: "treated as an object" };

export const warning = (code) => WARNINGS[code] ?? `${code.replaceAll("_", " ")}.`;

/** `confidence`: 0..1, the probability that the cut-out shows the right thing. */
export function trust(confidence) {
  const percent = `${Math.round(confidence * 100)} %`;
  if (confidence >= 0.9) return `Almost certainly right (${percent}).`;
  if (confidence >= 0.7) return `Probably right (${percent}).`;
  if (confidence >= 0.4) return `Uncertain (${percent}): check the result.`;
  return `Probably wrong (${percent}): check the result.`;
}

export function facts(meta) {
  const parts = [`${meta.width} × ${meta.height} pixels`];
  if (meta.quality in QUALITIES) parts.push(`quality ${QUALITIES[meta.quality][0].toLowerCase()}`);
  if (meta.mode in MODES) parts.push(MODES[meta.mode]);
  return parts.join(" · ");
}

export const seconds = (ms) => `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;

export function size(bytes) {
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} KB`;
}

export const photos = (count) => (count === 1 ? "1 photo" : `${count} photos`);
