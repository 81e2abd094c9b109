// The page at `/` where no executions are shown: it is in the language of its user too.

import { fillTexts } from "./dom.js";
import { front } from "./front_texts.js";

fillTexts(front);
