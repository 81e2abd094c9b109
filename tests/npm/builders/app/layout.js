import { createElement } from "react";

export default function Layout({ children }) {
  const icon = createElement("link", { rel: "icon", href: "data:," });
  const body = createElement("body", null, children);
  return createElement("html", { lang: "en" }, createElement("head", null, icon), body);
}
