import { createElement } from "react";

import { Run } from "../run.js";

export default function Page() {
  return createElement(Run);
}
