// Only in the files that a gateway serves, where it comes first: they know where they are from. The
// package that npm installs is without it: bundlers replace `import.meta.url` by a path of the builder's
// machine, and React Native and classic scripts do not have it.

import { loadedFrom } from "./base_url.js";

loadedFrom(import.meta.url);
