// Minifies files once more, in place: what vite's minifier leaves is some 2 % smaller.
// Arguments: the directory of the npm packages, then the files.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, ...files] = process.argv.slice(2);
const { minifySync } = createRequire(`${modules}/vite/package.json`)("vite");

for (const file of files) {
  const { code, errors } = minifySync(file, readFileSync(file, "utf8"), {
    module: file.endsWith(".js"),
    compress: { target: "esnext" },
    mangle: { toplevel: true },
  });
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"));
  writeFileSync(file, code);
}
