// Mounts the example that the address names into the page; the test gives the gateway and a token.

import NextRun from "./examples/next-run.jsx";
import { Run } from "./examples/Run.jsx";
import SvelteRun from "./examples/Run.svelte";
import VueRun from "./examples/Run.vue";
import { createElement } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { mount, unmount } from "svelte";
import { createApp } from "vue";

const root = document.getElementById("root");

function react(element) {
  const tree = createRoot(root);
  tree.render(element);
  return () => tree.unmount();
}

const MOUNT = {
  react: (props) => react(createElement(Run, props)),
  next({ id, options: { baseUrl, organizationId } }) {
    // As Next does: rendered by a server first.
    const element = createElement(NextRun, { id, baseUrl, organizationId });
    root.innerHTML = renderToString(element);
    const tree = hydrateRoot(root, element);
    return () => tree.unmount();
  },
  vue(props) {
    const app = createApp(VueRun, props);
    app.mount(root);
    return () => app.unmount();
  },
  svelte(props) {
    const component = mount(SvelteRun, { target: root, props });
    return () => unmount(component);
  },
};

window.start = ([framework, baseUrl, token]) => {
  const options = { baseUrl, organizationId: "acme", getToken: () => token };
  window.end = MOUNT[framework]({ id: `run-${framework}`, options });
};
