// Bundles native.js as React Native does.

import Metro from "metro";

const projectRoot = import.meta.dirname;
const config = await Metro.loadConfig(
  { cwd: projectRoot },
  {
    projectRoot,
    resolver: { useWatchman: false },
    reporter: { update() {} },
    transformer: {
      getTransformOptions: async () => ({ transform: { experimentalImportSupport: true } }),
    },
  },
);
await Metro.runBuild(config, { entry: "native.js", out: "native-bundle", platform: "android" });
