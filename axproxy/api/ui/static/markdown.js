// Shows Markdown as elements: headings, lists, code, emphasis and links to web pages.
// There is no HTML in it: what looks like a tag stays text.

import { element } from "./dom.js";

// No part may search far and in vain from each of many places: a model writes what it likes.
const INLINE = /(`{1,3})([^`]+)\1|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^[\]]+)\]\((https?:\/\/[^()\s]+)\)/g;

export function inline(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[2]) parts.push(element("code", {}, found[2]));
    else if (found[3]) parts.push(element("strong", {}, found[3]));
    else if (found[4]) parts.push(element("em", {}, found[4]));
    else parts.push(element("a", { href: found[6], rel: "noopener noreferrer", target: "_blank" }, found[5]));
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== "");
}

export function markdown(text) {
  const made = document.createDocumentFragment();
  const rows = text.split("\n");
  let paragraph = [];
  let list = null;
  const flush = () => {
    if (paragraph.length) made.append(element("p", {}, ...inline(paragraph.join(" "))));
    paragraph = [];
    list = null;
  };
  for (let at = 0; at < rows.length; at += 1) {
    const row = rows[at];
    const fence = row.match(/^\s*```/);
    const heading = row.match(/^(#{1,4})\s+(.*)/);
    const item = row.match(/^\s*(?:[-*]|(\d+)[.)])\s+(.*)/);
    if (fence) {
      flush();
      const code = [];
      for (at += 1; at < rows.length && !/^\s*```/.test(rows[at]); at += 1) code.push(rows[at]);
      made.append(element("pre", {}, element("code", {}, code.join("\n"))));
    } else if (heading) {
      flush();
      made.append(element(`h${Math.min(6, heading[1].length + 2)}`, {}, ...inline(heading[2])));
    } else if (item) {
      const kind = item[1] ? "OL" : "UL";
      if (paragraph.length || list?.tagName !== kind) {
        flush();
        list = element(kind.toLowerCase());
        made.append(list);
      }
      list.append(element("li", {}, ...inline(item[2])));
    } else if (!row.trim()) {
      flush();
    } else {
      list = null;
      paragraph.push(row);
    }
  }
  flush();
  return made;
}
