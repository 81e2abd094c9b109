import { createElement } from "react";
import { createRoot } from "react-dom/client";

import { Run } from "./run.js";

createRoot(document.getElementById("root")).render(createElement(Run));
